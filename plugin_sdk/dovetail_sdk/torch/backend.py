"""Torch's arrays for the runner, on any device that torch has."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import torch
from dovetail.errors import OutOfMemory
from dovetail.platform import I32, Memory
from numpy.typing import NDArray

from dovetail_sdk.runner import Backend

from .fp8 import KINDS, movable
from .queue import Queue, allocating, queue_of

TYPES: dict[str, torch.dtype] = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
"""Torch's type of a dtype of values and of cache forms; that of the form "fp8" is the device's own."""

PIECE = 32 << 20
"""Bytes of page-locked memory that a weight goes through at a time."""

_BY_NUMPY: dict[np.dtype[Any], torch.dtype] = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float16): torch.float16,
    np.dtype(ml_dtypes.bfloat16): torch.bfloat16,
    np.dtype(np.int32): torch.int32,
    np.dtype(np.int64): torch.int64,
    np.dtype(np.uint32): torch.int32,
    np.dtype(ml_dtypes.float8_e4m3fn): torch.float8_e4m3fn,
    np.dtype(np.int8): torch.int8,
    np.dtype(np.uint8): torch.uint8,
    np.dtype(np.bool_): torch.bool,
}


class TorchBackend(Backend):
    """One device. Uploads go through two pieces of page-locked memory in turn, beside the kernels.

    fp8  what the cache form "fp8" is here, of fp8.KINDS
    """

    def __init__(self, device: torch.device, fp8: str | None = None) -> None:
        self.device = device
        self._forms = TYPES if fp8 is None else {**TYPES, "fp8": KINDS[fp8]}
        self.queue: Queue = queue_of(device)
        self._pieces: list[torch.Tensor] = []
        self._turn = 0

    def empty(self, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
        kind = self._forms[dtype]
        num_bytes, free = math.prod(shape) * kind.itemsize, self.memory().free
        if num_bytes > free:  # the host's allocator would promise it
            raise OutOfMemory(f"{num_bytes} bytes for one array of the cache, and {free} are free")
        with allocating(f"{num_bytes} bytes for one array of the cache"):
            return torch.zeros(shape, dtype=kind, device=self.device)

    def upload(self, array: NDArray[Any]) -> torch.Tensor:
        """A copy; u32 comes as the i32 of the same bits. On a device with streams it is there for whatever is issued next."""
        array = np.ascontiguousarray(array)
        with allocating(f"{array.nbytes} bytes"):
            made = torch.empty(array.shape, dtype=_BY_NUMPY[array.dtype], device=self.device)
        if not array.size:
            return made
        source = array.reshape(-1).view(np.uint8)
        target = made.reshape(-1).view(torch.uint8)
        if not self.queue.pinned:
            np.copyto(target.numpy(), source)
            return made
        self._stream(source, target)
        return made

    def _stream(self, source: NDArray[np.uint8], target: torch.Tensor) -> None:
        if not self._pieces:
            self._pieces = [
                torch.empty(PIECE, dtype=torch.uint8, pin_memory=True) for _ in range(2)
            ]
            self._events = [self.queue.record(), self.queue.record()]
        with self.queue.copying(target):
            for start in range(0, source.size, PIECE):
                part = source[start : start + PIECE]
                piece, self._turn = self._turn, 1 - self._turn
                self._events[piece].wait()
                np.copyto(self._pieces[piece].numpy()[: part.size], part)
                target[start : start + part.size].copy_(
                    self._pieces[piece][: part.size], non_blocking=True
                )
                self._events[piece] = self.queue.record()
        self.queue.follow()

    def download(self, array: torch.Tensor) -> NDArray[Any]:
        """On the host, bf16 as ml_dtypes.bfloat16; waits."""
        host = array.detach().cpu().contiguous()
        if host.dtype == torch.bfloat16:
            return host.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return host.numpy()

    def memory(self) -> Memory:
        return self.queue.memory()

    def rounded(self, array: torch.Tensor, dtype: str) -> torch.Tensor:
        return array.to(TYPES[dtype])

    def take(self, array: torch.Tensor, blocks: I32) -> NDArray[Any]:
        return self.download(movable(array).index_select(0, self.upload(blocks)))

    def put(self, array: torch.Tensor, blocks: I32, data: NDArray[Any]) -> None:
        movable(array).index_copy_(0, self.upload(blocks.astype(np.int64)), self.upload(data))

    def copy(self, array: torch.Tensor, sources: I32, targets: I32) -> None:
        at = self.upload(np.stack([targets, sources]).astype(np.int64))
        self.copy_at(array, at[1], at[0])

    @staticmethod
    def copy_at(array: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> None:
        """array[targets] = array[sources] by index tensors [n] i64 of the device."""
        array = movable(array)
        array.index_copy_(0, targets, array.index_select(0, sources))
