"""Messages from one process to the members of a mesh: once into memory that all of them see, whatever their number.

A message is pickled with its arrays left out; those lie in a slot of the shared memory, where members read them in place.
Who sends is our own parent process, over descriptors that nobody else holds.
"""

from __future__ import annotations

import io
import mmap
import pickle
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from dovetail.errors import DeviceLost

SLOTS = 8
SLOT_BYTES = 4 << 20
PIECE_BYTES = 8 << 20
"""Of a weight, at a time, to one member."""
HEAD_BYTES = 4096
"""One count of messages read per member."""
MOST_MEMBERS = HEAD_BYTES // 8
ALIGNED = 64


class _Pickler(pickle.Pickler):
    """Also for the read-only mappings of graphs."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, MappingProxyType):
            return read_only, (dict(value),)
        return NotImplemented


def read_only(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    """What a read-only mapping is made of again."""
    return MappingProxyType(values)


def dumps(message: Any, buffers: list[pickle.PickleBuffer] | None = None) -> bytes:
    """A message as bytes; its arrays go to `buffers` where that is given."""
    out = io.BytesIO()
    keep = None if buffers is None else buffers.append
    _Pickler(out, protocol=5, buffer_callback=keep).dump(message)
    return out.getvalue()


def shared_memory_bytes(members: int) -> int:
    """Of a mesh."""
    return HEAD_BYTES + SLOTS * SLOT_BYTES + members * PIECE_BYTES


def make_shared_memory(members: int) -> Any:
    """A file without a name, in memory where the system has a place for that."""
    place = Path("/dev/shm")
    file = tempfile.TemporaryFile(dir=place if place.is_dir() else None)  # noqa: SIM115
    file.truncate(shared_memory_bytes(members))
    return file


class SharedMemory:
    """The mapping, as the parent and every member see it."""

    def __init__(self, descriptor: int, members: int) -> None:
        self._map = mmap.mmap(descriptor, shared_memory_bytes(members))
        self.read = np.frombuffer(self._map, np.int64, members)
        self._view = memoryview(self._map)

    def slot(self, number: int) -> memoryview:
        """The slot of a message."""
        start = HEAD_BYTES + number % SLOTS * SLOT_BYTES
        return self._view[start : start + SLOT_BYTES]

    def piece(self, member: int) -> memoryview:
        """Where weights go to one member."""
        start = HEAD_BYTES + SLOTS * SLOT_BYTES + member * PIECE_BYTES
        return self._view[start : start + PIECE_BYTES]


class Sender:
    """The parent's end. One thread at a time."""

    def __init__(self, memory: SharedMemory, connections: Sequence[Connection[Any, Any]]) -> None:
        self._memory, self._connections = memory, connections
        self.sent = 0

    def send(self, message: Any) -> None:
        """To all members. Raises DeviceLost where one is gone."""
        buffers: list[pickle.PickleBuffer] = []
        data = dumps(message, buffers)
        raw = [buffer.raw() for buffer in buffers]
        starts, total = [], 0
        for part in raw:
            starts.append(total)
            total += -(-part.nbytes // ALIGNED) * ALIGNED
        if total > SLOT_BYTES:
            data, starts, raw = dumps(message), [], []
        self._await_slot()
        slot = self._memory.slot(self.sent)
        for start, part in zip(starts, raw, strict=True):
            slot[start : start + part.nbytes] = part
        places = [(start, part.nbytes) for start, part in zip(starts, raw, strict=True)]
        for connection in self._connections:
            try:
                connection.send((data, places))
            except OSError as error:
                raise DeviceLost(f"a member of the mesh has ended: {error}") from error
        self.sent += 1

    def _await_slot(self) -> None:
        """Every member has read what the slot held before: they lag by a few steps at most."""
        while self.sent - int(self._memory.read.min()) >= SLOTS:
            if not all(_open(connection) for connection in self._connections):
                raise DeviceLost("a member of the mesh has ended")
            time.sleep(0.0002)


def _open(connection: Connection[Any, Any]) -> bool:
    return not connection.closed


class Receiver:
    """A member's end."""

    def __init__(self, memory: SharedMemory, connection: Connection[Any, Any], member: int) -> None:
        self._memory, self._connection, self._member = memory, connection, member
        self._count = 0

    def receive(self) -> Any:
        """The next message; its arrays are good until `done`. Raises EOFError when the parent is gone."""
        data, places = self._connection.recv()
        slot = self._memory.slot(self._count)
        return pickle.loads(data, buffers=[slot[start : start + size] for start, size in places])

    def done(self) -> None:
        """The message was used, and its slot may be written again."""
        self._count += 1
        self._memory.read[self._member] = self._count
