"""MLX arrays. They are lazy; every call here, and every step, ends with its arrays computed.

MLX keeps its queues per thread, and the engine may use another thread from one call to the next: an array that has been
computed belongs to no queue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ml_dtypes
import mlx.core as mx
import numpy as np
from dovetail.errors import OutOfMemory
from dovetail.platform import I32, Memory
from dovetail_sdk.runner import FINISHED, Backend, Event, host_memory
from numpy.typing import NDArray

TYPES = {"f32": mx.float32, "bf16": mx.bfloat16, "f16": mx.float16}


class MlxBackend(Backend):
    """MLX's default device."""

    def empty(self, shape: tuple[int, ...], dtype: str) -> mx.array:
        """Refused before MLX asks for it: on the CPU it would get more than there is."""
        num_bytes, free = math.prod(shape) * TYPES[dtype].size, self.memory().free
        if num_bytes > free:
            raise OutOfMemory(f"{num_bytes} bytes for one array of the cache, and {free} are free")
        array = mx.zeros(shape, TYPES[dtype])
        try:
            mx.eval(array)
        except RuntimeError as error:
            raise OutOfMemory(f"{num_bytes} bytes for one array of the cache: {error}") from error
        return array

    def upload(self, array: NDArray[Any]) -> mx.array:
        """A copy."""
        return mx.array(array)

    def download(self, array: mx.array) -> NDArray[Any]:
        if (
            array.dtype == mx.bfloat16
        ):  # NumPy has no such type, and the buffer protocol no name for it
            return np.array(array.view(mx.uint16)).view(ml_dtypes.bfloat16)
        return np.array(array)

    def memory(self) -> Memory:
        """The host's, of which Metal takes a part."""
        memory = host_memory()
        if not mx.metal.is_available():
            return memory
        info = mx.device_info()
        limit = int(info["max_recommended_working_set_size"])
        return replace(
            memory,
            free=max(0, min(memory.free, limit - mx.get_active_memory())),
            largest_allocation=min(memory.free, int(info["max_buffer_length"])),
        )

    def rounded(self, array: mx.array, dtype: str) -> mx.array:
        return array.astype(TYPES[dtype])

    def launch(self, arrays: Sequence[mx.array]) -> Event:
        mx.eval(*arrays)
        return FINISHED

    def put(self, array: mx.array, blocks: I32, data: NDArray[Any]) -> None:
        super().put(array, blocks, data)
        mx.eval(array)

    def copy(self, array: mx.array, sources: I32, targets: I32) -> None:
        super().copy(array, sources, targets)
        mx.eval(array)
