"""Memory for weights in large pages.

A step reads every weight once, from end to end. Over a mapped file's pages of 4 KiB the processor spends more time on
finding pages than on reading them (a decoding step of 0.5 GB took 35 ms instead of 21), so weights are copied once, at
load, into memory that the system may back with large pages; the file's pages can then go.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 64 << 20
"""NumPy asks for large pages (madvise) for arrays of 4 MiB and more; planes are often smaller, so many share one."""
ALIGNMENT = 64


class Resident:
    """Planes, copied end to end into few large arrays."""

    def __init__(self) -> None:
        self._chunk: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._used = 0

    def keep(self, plane: NDArray[np.generic]) -> NDArray[np.generic]:
        """A copy of a plane, its rows contiguous; a view that keeps its chunk alive."""
        if self._used + plane.nbytes > len(self._chunk):
            self._chunk = np.empty(max(CHUNK_BYTES, plane.nbytes) + ALIGNMENT, np.uint8)
            self._used = -self._chunk.ctypes.data % ALIGNMENT
        start = self._used
        self._used += -(-plane.nbytes // ALIGNMENT) * ALIGNMENT
        room = self._chunk[start : start + plane.nbytes].view(plane.dtype).reshape(plane.shape)
        room[...] = plane
        return room
