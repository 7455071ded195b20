"""Messages from one process to the members of a mesh: once into memory that all of them see, whatever their number.

The arrays of a message lie in a slot of the shared memory, where members read them in place; the rest is sent (wire.py).
Who sends is our own parent process, over descriptors that nobody else holds.
"""

from __future__ import annotations

import mmap
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from dovetail.errors import DeviceLost

from .wire import Array, decode, encode

SLOTS = 8
SLOT_BYTES = 4 << 20
PIECE_BYTES = 8 << 20
"""Of a weight, at a time, to one member."""
HEAD_BYTES = 4096
"""One count of messages read per member."""
MOST_MEMBERS = HEAD_BYTES // 8
ALIGNED = 64
_letters = msgspec.msgpack.Decoder(tuple[bytes, list[tuple[int, int]]])
"""A message without its arrays, and where these lie in the slot."""


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
        arrays: list[Array] = []
        data = encode(message, arrays)
        raw = [array.reshape(-1).view(np.uint8).data for array in arrays]
        starts, total = [], 0
        for part in raw:
            starts.append(total)
            total += -(-part.nbytes // ALIGNED) * ALIGNED
        if total > SLOT_BYTES:
            data, starts, raw = encode(message), [], []
        self._await_slot()
        slot = self._memory.slot(self.sent)
        for start, part in zip(starts, raw, strict=True):
            slot[start : start + part.nbytes] = part
        places = [[start, part.nbytes] for start, part in zip(starts, raw, strict=True)]
        whole = msgspec.msgpack.encode((data, places))
        for connection in self._connections:
            try:
                connection.send_bytes(whole)
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
        data, places = _letters.decode(self._connection.recv_bytes())
        slot = self._memory.slot(self._count)
        return decode(data, [slot[start : start + size] for start, size in places])

    def done(self) -> None:
        """The message was used, and its slot may be written again."""
        self._count += 1
        self._memory.read[self._member] = self._count
