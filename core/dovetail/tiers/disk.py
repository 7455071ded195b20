"""A directory of block files, within a size, the least recently used taken away first.

It belongs to one engine at a time (a lock file says so) and to one user (0700). Files appear under their names whole, by
rename. Whatever goes wrong with it costs the tier, a warning and never a request.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import stat
import threading
import time
from collections import OrderedDict
from pathlib import Path

from dovetail.errors import ConfigError

from .block_file import BadBlock, file_bytes, read_block, write_block
from .names import NAME_BYTES, Record

SUFFIX = ".kv"
SPARE_BYTES = 256 << 20
"""Of the disk, left to others."""
PAUSE_S = 30.0
"""After a write has failed, none is tried for so long."""
log = logging.getLogger("dovetail.tiers")


class DiskTier:
    """Blocks by name. `contains` may be asked from any thread; the rest is for one thread at a time.

    capacity    bytes of all files together
    data_bytes  of a block of this engine; files of other sizes belong to other models and only take room
    errors      reads and writes that failed
    """

    def __init__(self, directory: Path, capacity: int, data_bytes: int, lock: int) -> None:
        self.directory = directory
        self.capacity = capacity
        self.data_bytes = data_bytes
        self.used = 0
        self.errors = 0
        self._lock_descriptor = lock
        self._sizes: OrderedDict[bytes, int] = OrderedDict()
        self._guard = threading.Lock()
        self._paused_until = 0.0

    def __len__(self) -> int:
        return len(self._sizes)

    def contains(self, name: bytes) -> bool:
        return name in self._sizes

    def scan(self) -> None:
        """Take in what an earlier engine has left, least recently used first. Raises nothing."""
        found: list[tuple[float, bytes, int]] = []
        try:
            for part in os.scandir(self.directory):
                if part.is_dir(follow_symlinks=False):
                    found += self._files(part.path)
        except OSError as error:
            self._failed("reading", error)
        with self._guard:
            for _, name, size in sorted(found):
                if name not in self._sizes:
                    self._sizes[name] = size
                    self.used += size
        self._make_room(0)
        log.info("kv_cache_disk=%s blocks=%d bytes=%d", self.directory, len(self._sizes), self.used)

    def _files(self, folder: str) -> list[tuple[float, bytes, int]]:
        found = []
        for entry in os.scandir(folder):
            facts = entry.stat(follow_symlinks=False)
            if entry.name.startswith("."):  # an engine died while it wrote this
                os.unlink(entry.path)
            elif (name := _name_of(entry.name)) is not None and stat.S_ISREG(facts.st_mode):
                found.append((facts.st_mtime, name, facts.st_size))
        return found

    def read(self, name: bytes) -> Record | None:
        """The block, checked; None where it cannot be had. A damaged file is taken away."""
        path = self._path(name)
        try:
            record = read_block(path, name, self.data_bytes)
            os.utime(path)
        except BadBlock as error:
            self.errors += 1
            log.warning("%s is not used and is removed: %s", path, error)
            self._remove(name)
            return None
        except FileNotFoundError:
            self._forget(name)
            return None
        except OSError as error:
            self._failed("reading", error)
            return None
        with self._guard:
            if name in self._sizes:
                self._sizes.move_to_end(name)
        return record

    def write(self, record: Record) -> bool:
        """Keep a block; whether it is there now."""
        if record.name in self._sizes:
            return True
        if time.monotonic() < self._paused_until:
            return False
        size = file_bytes(len(record.tokens), record.data.nbytes)
        path = self._path(record.name)
        new = path.with_name(f".{path.name}")
        try:
            if not self._make_room(size):
                return False
            path.parent.mkdir(mode=0o700, exist_ok=True)
            new.unlink(missing_ok=True)
            write_block(new, record)
            new.rename(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            self._failed("writing", error)
            return False
        with self._guard:
            self._sizes[record.name] = size
            self.used += size
        return True

    def clear(self) -> None:
        """Remove every block of every model."""
        for name in list(self._sizes):
            self._remove(name)

    def close(self) -> None:
        """Let another engine have the directory."""
        descriptor, self._lock_descriptor = self._lock_descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _make_room(self, size: int) -> bool:
        """Whether `size` more bytes fit, after the least recently used were taken away."""
        while self.used + size > self.capacity and self._sizes:
            self._remove(next(iter(self._sizes)))
        if self.used + size > self.capacity:
            return False
        free = shutil.disk_usage(self.directory).free
        while free < size + SPARE_BYTES and self._sizes:
            free += self._remove(next(iter(self._sizes)))
        return free >= size + SPARE_BYTES

    def _remove(self, name: bytes) -> int:
        with contextlib.suppress(OSError):
            self._path(name).unlink(missing_ok=True)
        return self._forget(name)

    def _forget(self, name: bytes) -> int:
        with self._guard:
            size = self._sizes.pop(name, 0)
            self.used -= size
        return size

    def _failed(self, doing: str, error: OSError) -> None:
        """Warn, and leave the disk alone for a while: one warning per pause, not per block."""
        self.errors += 1
        if time.monotonic() >= self._paused_until:
            log.warning(
                "%s the cache on disk fails (%s); it is left alone for %.0f s, serving goes on without it",
                doing,
                error,
                PAUSE_S,
            )
        self._paused_until = time.monotonic() + PAUSE_S

    def _path(self, name: bytes) -> Path:
        text = name.hex()
        return self.directory / text[:2] / (text + SUFFIX)


def open_disk(directory: Path, capacity: int, data_bytes: int) -> DiskTier:
    """The tier in a directory, which is made if it is not there. Raises ConfigError with what to change."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = directory.stat()
        if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077:
            raise ConfigError(
                f"--kv-cache-disk: {directory} belongs to another user or is open to others; it holds what "
                f"people wrote. Give a directory of your own, or chmod 700 it"
            )
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"--kv-cache-disk: {directory} cannot be used: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(
            f"--kv-cache-disk: another engine uses {directory}; give each its own directory"
        ) from None
    return DiskTier(directory, capacity, data_bytes, descriptor)


def _name_of(file: str) -> bytes | None:
    text, suffix = os.path.splitext(file)
    if suffix != SUFFIX or len(text) != 2 * NAME_BYTES:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None
