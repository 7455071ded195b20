"""A file's bytes mapped read-only, and given back to the system without being lost."""

from __future__ import annotations

import mmap
import os
import threading

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
AHEAD_BYTES = 2 << 20
"""Linux cuts longer requests short, to a few megabytes that depend on the disk."""


class FileMap:
    """A whole file, read-only. Views of `data` keep it mapped.

    data  uint8 [size]
    """

    __slots__ = ("_mapping", "data")

    def __init__(self, file: int, size: int) -> None:
        self._mapping = mmap.mmap(file, size, access=mmap.ACCESS_READ)
        self.data: Bytes = np.frombuffer(self._mapping, np.uint8)

    def scatter(self) -> None:
        """Little will be read, here and there: the system need not fetch megabytes around each place."""
        if hasattr(mmap, "MADV_RANDOM"):
            self._mapping.madvise(mmap.MADV_RANDOM)

    def forget(self, start: int = 0, stop: int | None = None) -> None:
        """Take the pages out of this process's memory. Whoever reads them again gets the same bytes, from the file."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        page = mmap.PAGESIZE
        first = -(-start // page) * page
        last = len(self.data) if stop is None else stop // page * page
        if first < last:
            self._mapping.madvise(mmap.MADV_DONTNEED, first, last - first)


def fetch_ahead(file: int, size: int) -> None:
    """Have the system read all of a file, in order, while it is used: faults on a map of it ask for too little at a time.

    file  descriptor; may be closed once this returns
    """
    if not hasattr(os, "posix_fadvise"):
        return
    own = os.dup(file)

    def ask() -> None:
        try:
            for start in range(0, size, AHEAD_BYTES):
                os.posix_fadvise(own, start, AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(own)

    threading.Thread(target=ask, name="dovetail-fetch", daemon=True).start()
