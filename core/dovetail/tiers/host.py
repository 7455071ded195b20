"""Blocks in host memory, the least recently used let go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

from .names import Record


class HostTier:
    """Records by name, within a number of bytes. Any thread may call it.

    capacity  bytes of all data together
    used      of them
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._records: OrderedDict[bytes, Record] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, name: bytes) -> bool:
        return name in self._records

    def get(self, name: bytes) -> Record | None:
        """The record, which counts as a use."""
        with self._lock:
            record = self._records.get(name)
            if record is not None:
                self._records.move_to_end(name)
            return record

    def put(self, record: Record) -> list[Record]:
        """Keep a record; returns those that had to go for it, itself if it is larger than the capacity."""
        gone: list[Record] = []
        size = record.data.nbytes
        if size > self.capacity:
            return [record]
        with self._lock:
            if record.name in self._records:
                self._records.move_to_end(record.name)
                return gone
            while self.used + size > self.capacity:
                _, oldest = self._records.popitem(last=False)
                self.used -= oldest.data.nbytes
                gone.append(oldest)
            self._records[record.name] = record
            self.used += size
        return gone

    def newest_first(self) -> Iterator[Record]:
        """As of now."""
        with self._lock:
            records = list(self._records.values())
        return reversed(records)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._records.clear()
            self.used = 0
