"""The small arrays of a step on their way to the device: a ring of pinned memory that nobody waits for."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from .machine import DeviceEvent, Machine

RING_BYTES = 4 << 20
_ALIGNED = 64


class Staging:
    """Copies host arrays to device memory; the caller has its array back at once.

    A piece of the ring is used again when the copy out of it is over: that is waited for only when the ring is full. Pieces
    lie in the order in which they were sent, so that only the oldest can be in the way.
    """

    def __init__(self, machine: Machine) -> None:
        cl = machine.cl
        self._machine = machine
        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.ALLOC_HOST_PTR
        self._pinned = cl.Buffer(machine.context, flags, RING_BYTES)
        mapped, _ = cl.enqueue_map_buffer(
            machine.queue, self._pinned, cl.map_flags.WRITE, 0, (RING_BYTES,), np.uint8
        )
        self._ring: np.ndarray[Any, np.dtype[np.uint8]] = mapped
        self._pieces: deque[tuple[int, int, DeviceEvent]] = deque()
        self._next = 0

    def send(self, buffer: Any, data: np.ndarray[Any, Any]) -> None:
        """Write an array to the start of a buffer, in order with what is issued."""
        machine = self._machine
        cl, queue = machine.cl, machine.queue
        raw = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        if not raw.size:
            return
        if raw.size > RING_BYTES // 4:
            cl.enqueue_copy(queue, buffer, raw, is_blocking=True)
            return
        start = self._room(raw.size)
        piece = self._ring[start : start + raw.size]
        piece[:] = raw
        event = machine.issued(cl.enqueue_copy(queue, buffer, piece, is_blocking=False))
        self._pieces.append((start, start + raw.size, DeviceEvent(machine, event)))

    @property
    def pieces(self) -> int:
        """Of the ring that may still be read, as far as is known."""
        return len(self._pieces)

    def _room(self, num_bytes: int) -> int:
        """Where so many bytes are free."""
        while self._pieces and self._pieces[0][2].done():
            self._pieces.popleft()
        start = -(-self._next // _ALIGNED) * _ALIGNED
        if start + num_bytes > RING_BYTES:
            start = 0
            self._wait(self._next, RING_BYTES)
        self._next = start + num_bytes
        self._wait(start, self._next)
        return start

    def _wait(self, start: int, end: int) -> None:
        """For the oldest pieces, as far as they lie there."""
        while self._pieces and self._pieces[0][0] < end and start < self._pieces[0][1]:
            self._pieces.popleft()[2].wait()
