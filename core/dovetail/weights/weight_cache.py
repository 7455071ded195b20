"""Quantised weights kept on disk between starts, so that a start maps them instead of computing them.

One file per checkpoint, forms and version of the quantiser, in a directory that only its user may write. Whatever is wrong
with it costs a warning or a note and never a start. The least recently used files make room for new ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from dovetail.errors import ConfigError
from dovetail.graph import Weight

from .identity import identity, settled
from .mapping import FileMap
from .plane_file import Damaged, Layout, PlaneWriter, open_planes
from .quantise import QUANTISER

OFF = "off"
LIMIT_BYTES = 20 << 30
LEAST_BYTES = 16 << 20
"""Less is quantised in a blink and not kept."""
SPARE_BYTES = 512 << 20
"""Of the disk, left to others."""
STALE_S = 6 * 3600.0
"""Age of a temporary file that nobody writes any more."""

log = logging.getLogger("dovetail.weights")


def default_directory() -> Path:
    """In the user's cache directory, by the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return home / "dovetail" / "weights"


class WeightCache:
    """A directory of plane files.

    limit_bytes  of all files together
    least_bytes  of planes that are worth a file
    """

    def __init__(
        self, directory: Path, *, limit_bytes: int = LIMIT_BYTES, least_bytes: int = LEAST_BYTES
    ) -> None:
        self.directory = directory
        self.limit_bytes = limit_bytes
        self.least_bytes = least_bytes

    @classmethod
    def named(cls, setting: str | None, limit_bytes: int | None = None) -> WeightCache | None:
        """What --weight-cache says: a directory, "off" (None), or the default. Raises ConfigError for a file."""
        if setting == OFF or os.name != "posix":  # elsewhere a mapped file cannot be renamed
            return None
        try:
            directory = default_directory() if setting is None else Path(setting).expanduser()
        except RuntimeError:  # no home
            return None
        if setting is not None and directory.exists() and not directory.is_dir():
            raise ConfigError(
                f"--weight-cache is {setting}, which is a file; give a directory, or {OFF}"
            )
        return cls(directory, limit_bytes=limit_bytes or LIMIT_BYTES)

    def layout(self, files: Sequence[Path], weights: Sequence[Weight]) -> Layout | None:
        """The file that these weights of a checkpoint have or would have; None where they are not to be kept."""
        layout = Layout("", weights)
        if layout.size < self.least_bytes:
            return None
        if layout.size > self.limit_bytes:
            log.info("weight_cache=skipped bytes=%d limit=%d", layout.data_bytes, self.limit_bytes)
            return None
        try:
            if not settled(files):
                log.info("weight_cache=skipped reason='the checkpoint was written just now'")
                return None
            digest = hashlib.blake2b(identity(files), digest_size=20)
        except OSError as error:
            self._note(error)
            return None
        digest.update(str(QUANTISER).encode())
        for weight in weights:
            digest.update(
                repr((weight.name, weight.parts, weight.shape, str(weight.form))).encode()
            )
        return Layout(digest.hexdigest(), weights)

    def find(self, layout: Layout) -> FileMap | None:
        """The file, mapped and checked, or None. A damaged one is taken away, with a warning."""
        path = self._path(layout)
        try:
            self._check_owner()
            mapped = open_planes(path, layout)
            os.utime(path)
        except FileNotFoundError:
            return None
        except Damaged as damage:
            log.warning(
                "%s is damaged (%s) and is not used; the weights are quantised again", path, damage
            )
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        except OSError as error:
            self._note(error)
            return None
        log.info("weight_cache=hit file=%s bytes=%d", path, layout.size)
        return mapped

    def begin(self, layout: Layout) -> PlaneWriter | None:
        """A new file, with room made for it; None where there can be none."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_owner()
            if not self._make_room(layout.size):
                log.info("weight_cache=skipped reason='the disk is full' bytes=%d", layout.size)
                return None
            return PlaneWriter(self._path(layout), layout)
        except OSError as error:
            self._note(error)
            return None

    def _path(self, layout: Layout) -> Path:
        return self.directory / f"{layout.key}.safetensors"

    def _check_owner(self) -> None:
        """Refuse a directory into which somebody else could put weights."""
        facts = self.directory.stat()
        if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o022:
            raise PermissionError(
                f"{self.directory} belongs to another user or is writable for others"
            )

    def _make_room(self, size: int) -> bool:
        """Take away stale files and then the least recently used; whether `size` more fit."""
        kept: list[tuple[float, int, Path]] = []
        for path in self.directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                facts = path.stat()
                if path.name.startswith(".") and time.time() - facts.st_mtime > STALE_S:
                    path.unlink()
                elif path.suffix == ".safetensors":
                    kept.append((facts.st_mtime, facts.st_size, path))
        kept.sort()
        held = sum(size for _, size, _ in kept)
        while held + size > self.limit_bytes or not self._fits(size):
            if not kept:
                return self._fits(size)
            _, oldest, path = kept.pop(0)
            path.unlink(missing_ok=True)
            log.info("weight_cache=removed file=%s bytes=%d", path, oldest)
            held -= oldest
        return True

    def _fits(self, size: int) -> bool:
        return shutil.disk_usage(self.directory).free >= size + SPARE_BYTES

    def _note(self, error: OSError) -> None:
        log.warning("the weight cache is not used: %s; --weight-cache DIR chooses another", error)
