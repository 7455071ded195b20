"""Numbers on their way back to the host, and whole blocks on their way anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from dovetail.platform import Ticket
from numpy.typing import NDArray

from .array import TYPES, Array
from .machine import DeviceEvent, Machine


class Reading:
    """A dense array being read; the host array is the caller's when `result` returns."""

    def __init__(self, machine: Machine, array: Array) -> None:
        cl = machine.cl
        self._host: NDArray[Any] = np.empty(array.shape, TYPES[array.dtype])
        self._event: DeviceEvent | None = None
        if array.size:
            assert array.dense
            offset = array.at * self._host.itemsize
            raw = self._host.reshape(-1).view(np.uint8)
            handle = cl.enqueue_copy(
                machine.queue, raw, array.buffer, src_offset=offset, is_blocking=False
            )
            machine.issued(handle)
            self._event = machine.event()

    def done(self) -> bool:
        """Whether `result` would return at once."""
        return self._event is None or self._event.done()

    def result(self) -> NDArray[Any]:
        """Wait and return it."""
        if self._event is not None:
            self._event.wait()
            self._event = None
        return self._host


class ReadingTicket(Ticket[Any]):
    """A reading as the contract has it."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def done(self) -> bool:
        return self._reading.done()

    def result(self) -> Any:
        return self._reading.result()


class BlocksTicket(Ticket[None]):
    """Blocks of several arrays being read into parts of the caller's array."""

    def __init__(self, out: NDArray[np.uint8], readings: list[Reading]) -> None:
        self._out, self._readings = out, readings

    def done(self) -> bool:
        return all(reading.done() for reading in self._readings)

    def result(self) -> None:
        """Wait, and put each part where it belongs."""
        start = 0
        for reading in self._readings:
            part = np.ascontiguousarray(reading.result())
            part = part.reshape(len(self._out), -1).view(np.uint8)
            self._out[:, start : start + part.shape[1]] = part
            start += part.shape[1]
        self._readings = []
