"""The thread between host memory and disk: reads first, writes when nobody waits for a read."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable

from .disk import DiskTier
from .names import Record

MOST_WAITING_BYTES = 256 << 20
"""Of records that wait to be written; more are not taken."""
log = logging.getLogger("dovetail.tiers")


class Job:
    """Blocks to be read, in order, until one cannot be.

    done  they have been, or cannot be, or nobody wants them any more
    """

    def __init__(self, names: Iterable[bytes]) -> None:
        self.names = deque(names)
        self.done = False

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self.names.clear()
        self.done = True


class Courier:
    """Owns the disk tier once it is started.

    keep      told of each record that was read
    progress  set whenever a job is done
    """

    def __init__(self, disk: DiskTier, keep: Callable[[Record], object]) -> None:
        self.disk = disk
        self.progress = threading.Event()
        self._keep = keep
        self._jobs: deque[Job] = deque()
        self._writes: deque[Record] = deque()
        self._waiting = 0
        self._stop_when_written = self._stop_now = False
        self._clear = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="dovetail-disk", daemon=True)
        self._thread.start()

    def load(self, names: list[bytes]) -> Job:
        """Read blocks into host memory."""
        job = Job(names)
        with self._wake:
            self._jobs.append(job)
            self._wake.notify()
        return job

    def save(self, record: Record, *, most: int = MOST_WAITING_BYTES) -> bool:
        """Write a block some time; False if too much waits already."""
        size = record.data.nbytes
        with self._wake:
            if self._waiting and self._waiting + size > most:
                return False
            self._waiting += size
            self._writes.append(record)
            self._wake.notify()
        return True

    def clear(self) -> None:
        """Remove what is on disk, and forget what waits to go there."""
        with self._wake:
            self._writes.clear()
            self._waiting = 0
            self._clear = True
            self._wake.notify()

    def close(self, *, timeout_s: float) -> int:
        """Write what waits, for so long at most; then let go of the disk. Returns how many blocks were not written."""
        with self._wake:
            self._stop_when_written = True
            self._wake.notify()
        self._thread.join(timeout_s)
        with self._wake:
            self._stop_now = True
            left = len(self._writes)
        self._thread.join()
        self.disk.close()
        return left

    def _run(self) -> None:
        self.disk.scan()
        while True:
            with self._wake:
                while not (self._jobs or self._writes or self._clear or self._stop_when_written):
                    self._wake.wait()
                if self._stop_now or (self._stop_when_written and not self._writes):
                    break
                job = self._jobs[0] if self._jobs else None
                clear, self._clear = self._clear, False
                record = self._writes.popleft() if not clear and job is None else None
            if clear:
                self.disk.clear()
            elif job is not None:
                self._read_one(job)
            elif record is not None:
                self.disk.write(record)
                with self._wake:
                    self._waiting = max(0, self._waiting - record.data.nbytes)
        for job in self._jobs:
            job.done = True
        self.progress.set()

    def _read_one(self, job: Job) -> None:
        try:
            record = self.disk.read(job.names.popleft())
        except IndexError:  # cancelled
            record = None
        if record is not None:
            self._keep(record)
        if record is None or not job.names:
            job.done = True
            with self._wake:
                self._jobs.popleft()
            self.progress.set()
