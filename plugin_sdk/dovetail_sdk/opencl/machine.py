"""An open device: its context, its one queue, its memory, and time spent per kernel."""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import Any

from dovetail.errors import DeviceLost, OutOfMemory, PlatformError
from dovetail.platform import Memory

from dovetail_sdk.runner import Event, host_memory

from .driver import Found, opencl

log = logging.getLogger("dovetail.opencl")

_COMPLETE = 0
_SMALL = 1 << 24
"""Temporaries up to this many bytes are kept for the next one of their size."""
_MANY = 4096


class Machine:
    """One device. Everything is issued on one queue and computed in that order.

    Memory of a temporary may thus be used again as soon as nobody on the host holds it: what is issued later runs later.

    found      the device
    profiling  keep the time of every kernel; costs an event per call
    """

    def __init__(self, found: Found, *, profiling: bool = False) -> None:
        cl = self.cl = opencl()
        self.found, self.profiling = found, profiling
        properties = cl.command_queue_properties.PROFILING_ENABLE if profiling else 0
        try:
            self.context = cl.Context([found.handle])
            self.queue = cl.CommandQueue(self.context, found.handle, properties)
        except cl.Error as error:
            raise PlatformError(f"{found.description} cannot be opened: {error}") from error
        self.used_bytes = 0
        self._last: Any = None
        self._free: dict[int, list[Any]] = {}
        self._times: dict[str, float] = {}
        self._calls: Counter[str] = Counter()
        self._timed: deque[tuple[str, Any]] = deque()

    @property
    def units(self) -> int:
        """Compute units."""
        return int(self.found.handle.max_compute_units)

    def memory(self) -> Memory:
        """As of now: the device's own less what this process holds; a CPU's is the host's."""
        handle = self.found.handle
        largest = int(handle.max_mem_alloc_size)
        if not self.found.gpu:
            host = host_memory()
            return Memory(host.total, host.free, min(largest, host.free), host=True)
        total = int(handle.global_mem_size)
        free = max(0, total - self.used_bytes)
        return Memory(total, free, min(largest, free), host=bool(handle.host_unified_memory))

    def allocate(self, num_bytes: int, what: str) -> Storage:
        """Memory that stays. Raises OutOfMemory, which says what for."""
        memory = self.memory()
        if num_bytes > memory.largest_allocation:
            raise OutOfMemory(
                f"{num_bytes} bytes for {what}; {memory.free} are free and {memory.largest_allocation} "
                "can be had at once"
            )
        return Storage(self, self._buffer(max(num_bytes, 4), what), max(num_bytes, 4), keep=False)

    def temporary(self, num_bytes: int) -> Storage:
        """Memory for a value of a step, taken from what earlier values have left."""
        size = _rounded(num_bytes)
        kept = self._free.get(size)
        if kept:
            return Storage(self, kept.pop(), size, keep=True)
        return Storage(self, self._buffer(size, "a value"), size, keep=size <= _SMALL)

    def issued(self, event: Any) -> Any:
        """Tell of a command that was put on the queue; its event again."""
        self._last = event
        return event

    def event(self) -> DeviceEvent:
        """Reached when all that was issued so far is over; starts what has not started.

        It is the last command's own: behind a marker, Intel's CPU runtime computes with all threads but the one that waits.
        """
        if self._last is None:
            self._last = self.cl.enqueue_marker(self.queue)
        self.flush()
        return DeviceEvent(self, self._last)

    def flush(self) -> None:
        """Start what was issued."""
        self.queue.flush()

    def finish(self) -> None:
        """Wait for all that was issued. Raises DeviceLost."""
        try:
            self.queue.finish()
        except self.cl.Error as error:
            raise DeviceLost(f"{self.found.description}: {error}") from error

    def timed(self, name: str, event: Any) -> None:
        """Keep a kernel's event, where times are kept."""
        self._timed.append((name, event))
        if len(self._timed) > _MANY:
            self._settle()

    def times(self) -> list[tuple[str, int, float]]:
        """(kernel, calls, seconds) since the last call, the longest first."""
        self.finish()
        self._settle()
        longest = sorted(self._times.items(), key=lambda entry: -entry[1])
        rows = [(name, self._calls[name], seconds) for name, seconds in longest]
        self._times.clear()
        self._calls.clear()
        return rows

    def give(self, storage: Storage) -> None:
        """Take memory back that nobody on the host holds any more."""
        if storage.keep:
            self._free.setdefault(storage.num_bytes, []).append(storage.buffer)
        else:
            self.used_bytes -= storage.num_bytes

    def _buffer(self, num_bytes: int, what: str) -> Any:
        cl = self.cl
        try:
            buffer = cl.Buffer(self.context, cl.mem_flags.READ_WRITE, num_bytes)
        except cl.Error as error:
            raise OutOfMemory(f"{num_bytes} bytes for {what}: {error}") from error
        self.used_bytes += num_bytes
        return buffer

    def _settle(self) -> None:
        while self._timed:
            name, event = self._timed.popleft()
            event.wait()
            seconds = (event.profile.end - event.profile.start) * 1e-9
            self._times[name] = self._times.get(name, 0.0) + seconds
            self._calls[name] += 1


class Storage:
    """A piece of device memory; goes back to the machine with the last reference to it."""

    __slots__ = ("buffer", "keep", "machine", "num_bytes")

    def __init__(self, machine: Machine, buffer: Any, num_bytes: int, *, keep: bool) -> None:
        self.machine, self.buffer, self.num_bytes, self.keep = machine, buffer, num_bytes, keep

    def __del__(self) -> None:
        self.machine.give(self)


class DeviceEvent(Event):
    """Work on the queue."""

    def __init__(self, machine: Machine, handle: Any) -> None:
        self._machine, self._handle = machine, handle

    def done(self) -> bool:
        """Whether it is over; a device that failed is over too, and `wait` says so."""
        return bool(self._handle.command_execution_status <= _COMPLETE)

    def wait(self) -> None:
        cl = self._machine.cl
        try:
            self._handle.wait()
        except cl.Error as error:
            raise DeviceLost(f"{self._machine.found.description}: {error}") from error


def _rounded(num_bytes: int) -> int:
    """The next of the sizes in which temporaries come: four to each power of two, so that few are kept."""
    size = max(num_bytes, 256)
    step = 1 << max(0, size.bit_length() - 3)
    return -(-size // step) * step
