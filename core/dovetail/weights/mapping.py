"""A file's bytes mapped read-only, and given back to the system without being lost."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


class FileMap:
    """A whole file, read-only. Views of `data` keep it mapped.

    data  uint8 [size]
    """

    __slots__ = ("_mapping", "data")

    def __init__(self, file: int, size: int) -> None:
        self._mapping = mmap.mmap(file, size, access=mmap.ACCESS_READ)
        self.data: Bytes = np.frombuffer(self._mapping, np.uint8)

    def forget(self, start: int = 0, stop: int | None = None) -> None:
        """Take the pages out of this process's memory. Whoever reads them again gets the same bytes, from the file."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        page = mmap.PAGESIZE
        first = -(-start // page) * page
        last = len(self.data) if stop is None else stop // page * page
        if first < last:
            self._mapping.madvise(mmap.MADV_DONTNEED, first, last - first)
