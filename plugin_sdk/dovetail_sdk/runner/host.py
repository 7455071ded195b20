"""The backend of platforms whose arrays are NumPy's."""

from __future__ import annotations

import os

import numpy as np
from dovetail.platform import Memory

from .backend import NUMPY_TYPES, Backend, HostArray


class NumpyBackend(Backend):
    """NumPy on the host. Kernels compute in f32; values of a smaller type are f32 numbers rounded to it."""

    def empty(self, shape: tuple[int, ...], dtype: str) -> HostArray:
        return np.zeros(shape, NUMPY_TYPES[dtype])

    def upload(self, array: HostArray) -> HostArray:
        """The array itself: kernels are over before the caller has it back, and write to no input."""
        return array

    def download(self, array: HostArray) -> HostArray:
        return array

    def memory(self) -> Memory:
        return host_memory()

    def rounded(self, array: HostArray, dtype: str) -> HostArray:
        if dtype == "f32" or array.dtype != np.float32:
            return array
        return array.astype(NUMPY_TYPES[dtype]).astype(np.float32)


def host_memory() -> Memory:
    """The host's memory; free is what could be had without swapping, where the system says."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES")
    free = total
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        free = page * os.sysconf("SC_AVPHYS_PAGES")
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    free = 1024 * int(line.split()[1])
    except OSError:  # not Linux
        pass
    return Memory(total=total, free=free, largest_allocation=free, host=True)
