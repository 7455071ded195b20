"""What is kept in memory for a client to come back to: bounded in number, bytes and age, each thing for its owner alone."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Entry(Generic[T]):
    value: T
    size: int
    put_s: float


class Kept(Generic[T]):
    """Values by owner and id. What was used longest ago goes first when there is too much.

    An owner is whoever an API key belongs to; to another owner an id does not exist.
    """

    def __init__(
        self,
        *,
        max_count: int = 1024,
        max_bytes: int = 64 << 20,
        max_age_s: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entries: OrderedDict[tuple[str, str], _Entry[T]] = OrderedDict()
        self._max_count, self._max_bytes, self._max_age_s = max_count, max_bytes, max_age_s
        self._clock = clock
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, owner: str, name: str, value: T, size: int) -> None:
        """Keep a value of about `size` bytes; one that is larger than all the room is not kept."""
        self.drop(owner, name)
        self._entries[owner, name] = _Entry(value, size, self._clock())
        self.num_bytes += size
        while len(self._entries) > self._max_count or self.num_bytes > self._max_bytes:
            self.num_bytes -= self._entries.popitem(last=False)[1].size
        self._forget()

    def get(self, owner: str, name: str) -> T | None:
        """The value, None if there is none (any more)."""
        self._forget()
        entry = self._entries.get((owner, name))
        if entry is None:
            return None
        self._entries.move_to_end((owner, name))
        return entry.value

    def clear(self) -> int:
        """Forget everything; returns how many there were."""
        count = len(self._entries)
        self._entries.clear()
        self.num_bytes = 0
        return count

    def drop(self, owner: str, name: str) -> bool:
        """Forget it; whether it was there."""
        entry = self._entries.pop((owner, name), None)
        if entry is not None:
            self.num_bytes -= entry.size
        return entry is not None

    def _forget(self) -> None:
        """Drop what is too old."""
        oldest = self._clock() - self._max_age_s
        for key in [key for key, entry in self._entries.items() if entry.put_s < oldest]:
            self.drop(*key)
