"""OpenCL arrays for the kernel-table runner."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from dovetail.platform import I32, Memory
from numpy.typing import NDArray

from dovetail_sdk.runner import Backend, Event

from .array import TYPES, Array, name_of, temporary
from .machine import Machine
from .programs import SOURCE, Programs
from .staging import RING_BYTES, Staging
from .transfer import Reading

_WORDS = 64


class OpenclBackend(Backend):
    """Arrays of one machine; programs are built for it."""

    def __init__(self, machine: Machine, programs: Programs) -> None:
        self.machine, self.programs = machine, programs
        self._staging = Staging(machine)
        self._copy = programs.function(SOURCE / "blocks.cl", "copy_blocks", "bbbbi")
        self.nothing = temporary(machine, (1,), "i32")
        """For arguments that a kernel will not read."""

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        num_bytes = prod(shape) * TYPES[dtype].itemsize
        storage = self.machine.allocate(num_bytes, "an array of the cache")
        cl = self.machine.cl
        size = -(-num_bytes // 4) * 4
        if size <= storage.num_bytes:
            queue = self.machine.queue
            self.machine.issued(
                cl.enqueue_fill_buffer(queue, storage.buffer, np.uint32(0), 0, size)
            )
        return Array(storage, shape, dtype)

    def upload(self, array: NDArray[Any]) -> Array:
        """A copy. Small ones are staged and nobody waits; large ones are weights, and stay."""
        name = name_of(array)
        machine = self.machine
        if array.nbytes <= RING_BYTES // 4:
            made = temporary(machine, array.shape, name)
            self._staging.send(made.buffer, array)
            return made
        made = Array(machine.allocate(array.nbytes, "a weight"), array.shape, name)
        self._staging.send(made.buffer, array)
        return made

    def download(self, array: Array) -> NDArray[Any]:
        return Reading(self.machine, array).result()

    def memory(self) -> Memory:
        return self.machine.memory()

    def launch(self, arrays: Sequence[Array]) -> Event:
        return self.machine.event()

    def copy(self, array: Array, sources: I32, targets: I32) -> None:
        self._blocks(array, array, sources, targets)

    def take(self, array: Array, blocks: I32) -> NDArray[Any]:
        return self.taking(array, blocks).result()

    def taking(self, array: Array, blocks: I32) -> Reading:
        """array[blocks] on its way to the host."""
        packed = temporary(self.machine, (len(blocks), *array.shape[1:]), array.dtype)
        self._blocks(array, packed, blocks, np.arange(len(blocks), dtype=np.int32))
        return Reading(self.machine, packed)

    def put(self, array: Array, blocks: I32, data: NDArray[Any]) -> None:
        packed = self.upload(np.ascontiguousarray(data))
        self._blocks(packed, array, np.arange(len(blocks), dtype=np.int32), blocks)

    def _blocks(self, source: Array, target: Array, sources: I32, targets: I32) -> None:
        """target[targets] = source[sources]."""
        words = source.width * TYPES[source.dtype].itemsize // 4
        given = self.upload(np.concatenate([sources, targets]).astype(np.int32, copy=False))
        moved = self.upload(np.ascontiguousarray(targets, np.int32))
        self._copy(
            (-(-words // _WORDS), len(sources)),
            (_WORDS, 1),
            *(source.buffer, target.buffer, given.buffer, moved.buffer, words),
        )
