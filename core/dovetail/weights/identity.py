"""What tells whether a checkpoint's files are the ones that something was made of.

Reading all of a checkpoint would cost as much as quantising it saves where it is not in memory yet. So a file is known by
its path, device, inode, size and the nanoseconds of its last write *and last change*: the second (ctime) moves with every
write, also where a tool sets the first back, and cannot be set by any call. Beside that its header and a few blocks
spread over it are read, for file systems that keep less. What is written within the same tick of the clock as it is
read could still be missed; `settled` says when that cannot be.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

SETTLED_S = 2.0
"""Longer than a tick of any file system's clock."""
SAMPLES = 64
SAMPLE_BYTES = 4096


def identity(files: Iterable[Path]) -> bytes:
    """A digest of these files as they are now. Raises OSError."""
    digest = hashlib.blake2b(digest_size=32)
    for path in sorted(files):
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            stamp = (
                str(path.resolve()),
                facts.st_dev,
                facts.st_ino,
                facts.st_size,
                facts.st_mtime_ns,
                facts.st_ctime_ns,
            )
            digest.update(repr(stamp).encode())
            stride = max(SAMPLE_BYTES, facts.st_size // SAMPLES)
            for start in range(0, facts.st_size, stride):
                file.seek(start)
                digest.update(file.read(SAMPLE_BYTES))
    return digest.digest()


def settled(files: Iterable[Path]) -> bool:
    """Whether their last change is so long ago that a later one would show. Raises OSError."""
    return all(time.time() - path.stat().st_ctime > SETTLED_S for path in files)
