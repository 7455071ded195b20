"""Kernels compiled from source, kept on disk between processes.

An entry is a file whose name is a hash of everything that its content depends on: source, options, compiler and device.
It begins with a checksum of the rest. Files appear whole (written beside, then renamed), so that processes may share a
folder without a lock; one that is damaged is ignored and written again. The folder is its owner's alone, because what
is in it will be run.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

log = logging.getLogger("dovetail.compiled")

MAGIC = b"dovetail compiled 1\n"


class CompiledCache:
    """Compiled kernels in a folder.

    A folder that cannot be made, or that somebody else may write to, is not used: then every call compiles.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder if _private(folder) else None

    def get(
        self,
        compile_source: Callable[[str, Sequence[str]], bytes],
        source: str,
        *,
        options: Sequence[str] = (),
        compiler: str,
        device: str,
    ) -> bytes:
        """The compiled form of a source, from the folder or from compile_source(source, options).

        compiler  name and version
        device    architecture, and the driver's version where it matters
        """
        if self._folder is None:
            return compile_source(source, options)
        path = self._folder / entry_name(source, options, compiler, device)
        kept = _read(path)
        if kept is not None:
            return kept
        made = compile_source(source, options)
        _write(path, made)
        return made


def entry_name(source: str, options: Sequence[str], compiler: str, device: str) -> str:
    """Name of an entry's file. Lengths go into the hash, so that no two lists of parts look alike."""
    digest = hashlib.sha256()
    for part in (compiler, device, str(len(options)), *options, source):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _private(folder: Path) -> bool:
    """Whether the folder is there, ours, and closed to everyone else."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        log.warning("cache=%s unused reason=%r", folder, str(error))
        return False
    closed = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if hasattr(os, "getuid"):
        closed = closed and status.st_uid == os.getuid()
    if not closed:
        log.warning("cache=%s unused reason='others may use it; chmod 700 it'", folder)
    return closed


def _read(path: Path) -> bytes | None:
    """An entry's content; None where there is none or it is damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("entry=%s unread reason=%r", path, str(error))
        return None
    head = len(MAGIC) + hashlib.sha256().digest_size
    content = data[head:]
    if data[:head] != MAGIC + hashlib.sha256(content).digest():
        log.warning("entry=%s damaged", path)
        return None
    return content


def _write(path: Path, content: bytes) -> None:
    """Put an entry there whole; one that cannot be written is compiled again next time."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix="writing-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(MAGIC + hashlib.sha256(content).digest() + content)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        log.warning("entry=%s unwritten reason=%r", path, str(error))
