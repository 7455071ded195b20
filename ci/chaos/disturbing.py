"""What is done to a server while it serves, and to the files below it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from serving import Server


def truncate(rng: random.Random, file: Path) -> None:
    """Cut a file short."""
    data = file.read_bytes()
    file.write_bytes(data[: rng.randrange(len(data) + 1)])


def flip(rng: random.Random, file: Path) -> None:
    """Turn a bit."""
    data = bytearray(file.read_bytes())
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(data)


def remove(rng: random.Random, file: Path) -> None:
    """Take it away."""
    file.unlink(missing_ok=True)


def swap(rng: random.Random, file: Path) -> None:
    """Put a link to nowhere in its place."""
    file.unlink(missing_ok=True)
    file.symlink_to("/nowhere")


DAMAGE: tuple[Callable[[random.Random, Path], None], ...] = (truncate, flip, remove, swap)


class Disk:
    """The folder of a disk tier, as somebody else would treat it."""

    def __init__(self, rng: random.Random, folder: Path) -> None:
        self._rng = rng
        self.folder = folder

    def disturb(self) -> str:
        """One misfortune; says which."""
        kind = self._rng.choice(["files", "files", "blocked", "cleared", "read-only"])
        if kind == "files":
            files = sorted(self.folder.glob("*/*.kv"))
            for file in self._rng.sample(files, min(len(files), 8)):
                with contextlib.suppress(FileNotFoundError):  # the engine was quicker
                    self._rng.choice(DAMAGE)(self._rng, file)
        elif (
            kind == "blocked"
        ):  # a file where a folder is due, as good as a folder without permission to root
            (self.folder / f"{self._rng.randrange(256):02x}").touch()
        elif kind == "cleared":
            for part in self.folder.glob("??"):
                shutil.rmtree(part, ignore_errors=True)
        else:
            self.folder.chmod(0o500)
        return kind

    def mend(self) -> None:
        """Make it usable again."""
        if self.folder.is_dir():
            self.folder.chmod(0o700)
            for part in self.folder.glob("??"):
                if part.is_file():
                    part.unlink()

    def left_over(self, capacity: int) -> list[str]:
        """What should not be there once no engine uses it."""
        wrong = [f"{file} was left" for file in self.folder.glob("*/.*")]
        size = sum(file.lstat().st_size for file in self.folder.glob("*/*.kv"))
        if size > capacity:
            wrong.append(f"{size} bytes on disk, {capacity} are allowed")
        wrong += [
            f"{self.folder} is open to others" for _ in "1" if self.folder.stat().st_mode & 0o077
        ]
        return wrong


async def disturb(
    rng: random.Random, server: Server, disk: Disk | None, *, kills: bool, until: asyncio.Event
) -> list[str]:
    """Kill engines and damage files now and then until the wave is over; says what was done."""
    done = []
    while not until.is_set():
        kind = rng.choice(["engine"] * kills + ["disk", "limit"] * (disk is not None) + ["nothing"])
        if kind == "engine" and server.kill_engine():
            await asyncio.sleep(0)  # clients come to know first
            await server.recovered()
        elif kind == "disk" and disk is not None:
            kind = disk.disturb()
        elif kind == "limit":
            server.limit_files(rng.choice([0, 200, 1000]))
        done.append(kind)
        try:
            await asyncio.wait_for(until.wait(), 0.2 + 2 * rng.random())
        except TimeoutError:
            continue
    return done
