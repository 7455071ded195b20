"""`dovetail serve` as a process that may be looked into, starved and killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from pausing import Pauses

START_S = 600.0
NOTICED_S = 3.0
"""After a pause: until an engine that is thought to hang because of it has been given up."""
READY = re.compile(r"http://127\.0\.0\.1:(\d+)")


class Server:
    """One server after another in a folder of its own, on one port; `start` and `end` as often as wanted.

    folder  its home, temporary files and log
    down    [from, to] on time.monotonic(): when requests may fail, because the engine was killed or the server ended
    gone    the same, when connections may fail too, because the server ended
    seen    every process that it has had
    pauses  of the whole machine; what is late or broken by one is nobody's fault
    """

    def __init__(self, folder: Path, model: str, flags: list[str]) -> None:
        self.folder = folder
        self.url = ""
        self.down: list[list[float]] = []
        self.gone: list[list[float]] = []
        self.seen: set[int] = set()
        self._killed: set[int] = set()
        self._paused: list[list[float]] = []
        self.pauses = Pauses(self._after_pause)
        self._command = [sys.executable, "-m", "dovetail.cli.main", "serve", model, *flags]
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)

    @property
    def pid(self) -> int:
        """Of the server process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text()

    async def start(self) -> float:
        """Start it and wait until it is ready; the seconds that took."""
        began = time.monotonic()
        home = {
            "HOME": str(self.folder),
            "TMPDIR": str(self.temporary),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [*self._command, "--port", str(self._port)],
                env={**os.environ, **home},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        lines = asyncio.to_thread(self._read_ready)
        self._port = await asyncio.wait_for(lines, START_S)
        self.url = f"http://127.0.0.1:{self._port}"
        return time.monotonic() - began

    def _read_ready(self) -> int:
        process = self._process
        assert process is not None and process.stdout is not None
        for line in process.stdout:
            if found := READY.search(line):
                return int(found[1])
        raise RuntimeError(f"the server did not start: {self.log[-2000:]}")

    def engines(self) -> list[int]:
        """Its child processes."""
        found: list[int] = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
                found += map(int, (task / "children").read_text().split())
        self.seen.update(found)
        return [pid for pid in found if alive(pid)]

    def kill_engine(self) -> bool:
        """SIGKILL; False if there is none just now. Requests may fail from now until `recovered`."""
        engines = self.engines()
        for pid in engines:
            self.down.append([time.monotonic(), float("inf")])
            self._killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        return bool(engines)

    def limit_files(self, size: int) -> None:
        """No file that the engine writes gets longer than this."""
        for pid in self.engines():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    async def recovered(self) -> float:
        """Wait until it serves again, with another engine than those that were killed; when that was.

        Raises RuntimeError if the server has ended.
        """
        async with self._client() as client, asyncio.timeout(START_S):
            # it may not have noticed yet, and say that it is ready
            while self._killed.issuperset(self.engines()) or (
                (await client.get("/ready")).status_code != 200
            ):
                if not alive(self.pid):
                    raise RuntimeError(f"the server has ended: {self.log[-500:]}")
                await asyncio.sleep(0.02)
        now = time.monotonic()
        for interval in (*self.down, *self.gone):
            interval[1] = min(interval[1], now)
        return now

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=None, trust_env=False)

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit status."""
        process = self._process
        assert process is not None
        self.seen.update([process.pid, *self.engines()])
        for times in (self.down, self.gone):
            times.append([time.monotonic(), float("inf")])
        process.send_signal(number)
        status = await asyncio.wait_for(asyncio.to_thread(process.wait), START_S)
        assert process.stdout is not None
        process.stdout.close()
        return status

    def excuses(self, began: float, ended: float, *, broken: bool = False) -> bool:
        """Whether a request of that time may have failed, or its connection."""
        times = self.gone if broken else self.down
        return any(start <= ended and began <= end for start, end in times)

    def paused(self, began: float, ended: float) -> bool:
        """Whether the machine stood still in that time, or the server had not got over it yet."""
        return any(start <= ended and began <= end for start, end in self._paused)

    async def _after_pause(self, began: float) -> None:
        """Until it serves again: engines that were thought to hang have been replaced then."""
        interval = [began, float("inf")]
        self._paused.append(interval)
        await asyncio.sleep(NOTICED_S)
        while interval[1] == float("inf") and alive(self.pid):
            async with self._client() as client:
                try:
                    if (await client.get("/ready")).status_code == 200:
                        interval[1] = time.monotonic()
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
            await asyncio.sleep(0.02)
        interval[1] = min(interval[1], time.monotonic())

    async def orphans(self) -> list[int]:
        """Processes of it that are still there, some time after it has ended."""
        for _ in range(100):
            left = [pid for pid in self.seen if alive(pid) and self._is_ours(pid)]
            if not left:
                break
            await asyncio.sleep(0.05)
        return left

    def _is_ours(self, pid: int) -> bool:
        try:
            return f"TMPDIR={self.temporary}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descriptors(pid: int) -> list[str]:
    """What a process has open."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except FileNotFoundError:
            continue
    return sorted(found)


def resident_bytes(pid: int) -> int:
    """Memory of a process's own, files that it has mapped not counted."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0
