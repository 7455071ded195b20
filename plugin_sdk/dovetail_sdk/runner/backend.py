"""What the runner needs to know about a platform's arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from dovetail.platform import I32, Memory
from numpy.typing import NDArray

Array = Any
"""An array of the platform's own, whatever that is: the runner only passes it on."""

HostArray = NDArray[Any]


class Event:
    """Work that was started; this one is over already."""

    def done(self) -> bool:
        """Whether the work is over."""
        return True

    def wait(self) -> None:
        """Return when it is; raises CacheLost or DeviceLost."""


FINISHED = Event()
"""The event of work that is over."""


class Backend(ABC):
    """Arrays of one device. Three methods make a platform; the rest has defaults.

    The defaults of `launch` and `rounded` fit a device that computes before a kernel returns, in the graph's type. Those
    of `take`, `put` and `copy` fit arrays that are indexed like NumPy's. Work is done in the order issued.
    """

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        """An array of zeros for the cache; dtype is the name of a cache form. Raises OutOfMemory."""

    @abstractmethod
    def upload(self, array: HostArray) -> Array:
        """The same numbers in an array of the device, bf16 given as ml_dtypes.bfloat16. Raises OutOfMemory.

        The caller's array is the caller's again when the step that it is uploaded for has been issued.
        """

    @abstractmethod
    def download(self, array: Array) -> HostArray:
        """The same numbers on the host, of the same type; waits for what makes them."""

    @abstractmethod
    def memory(self) -> Memory:
        """As of now; runner.host_memory() where the device uses the host's."""

    def rounded(self, array: Array, dtype: str) -> Array:
        """What a kernel returned, brought to the graph's dtype. Default: kernels return that already."""
        return array

    def launch(self, arrays: Sequence[Array]) -> Event:
        """All kernels of a step have been called: start what has not started, down to these arrays.

        arrays are the step's outputs and the whole cache. Default: it is over.
        """
        return FINISHED

    def take(self, array: Array, blocks: I32) -> HostArray:
        """array[blocks] on the host."""
        return self.download(array[self.upload(blocks)])

    def put(self, array: Array, blocks: I32, data: HostArray) -> None:
        """array[blocks] = data; data has the array's own type."""
        array[self.upload(blocks)] = self.upload(data)

    def copy(self, array: Array, sources: I32, targets: I32) -> None:
        """array[targets] = array[sources]; no target is a source."""
        array[self.upload(targets)] = array[self.upload(sources)]


NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f16": np.dtype(np.float16),
    "fp8": np.dtype(ml_dtypes.float8_e4m3fn),
}
"""NumPy's type of a dtype of values and of cache forms; a device's fp8 may be another kind of the same size."""
