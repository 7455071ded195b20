"""A server that is asked for ten times what it can do, over 2,000 connections: what it still delivers, and how it refuses the rest.

    python ci/bench/flood.py [--platform fault:slow=0.01] [--model demo] [--connections 2000] [--times 10]
        [--seconds 20] [--tokens 64] [--max-queue 256] [--json]

First a moderate load, as many streams as the server runs at a time and half as many again: the peak. Then the flood: streams are due on
every connection so often that together they ask for --times as many a second as ended under the moderate load; nobody heeds Retry-After.
A request that is due while the one before still runs on its connection follows it at once. /health is asked four times a second all the
while, each time over a new connection. `fault:slow=0.01` is the null platform with steps of 10 ms.
Status 1 if the server delivers less than 80 % of the peak, /health takes a second or more, a refusal is something else than 429 or 503
with Retry-After, a stream breaks, something hangs, or something is not free again afterwards.
Client and server share the machine: what the client computes is part of the load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

SHARE = 0.8
HEALTH_S = 1.0
HANGS_S = 120.0
SETTLE_S = 30.0
HEAD_BYTES = 4096
MARGIN_BYTES = 96 << 20
USAGE = re.compile(rb'"completion_tokens":(\d+)')
LENGTH = re.compile(rb"content-length: (\d+)", re.I)
GAUGE = re.compile(
    r"^dovetail:(num_requests_running|num_requests_waiting|kv_cache_usage_perc)\{[^}]*\} (\S+)$",
    re.M,
)


@dataclass(slots=True)
class Seen:
    """What clients saw from `since` on (time.monotonic()).

    ends      moments at which a stream was complete, and its tokens
    refusals  by status
    wrong     what should not have been, by kind
    health_s  of each question to /health
    """

    since: float = 0.0
    ends: list[tuple[float, int]] = field(default_factory=list)
    refusals: Counter[int] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    health_s: list[float] = field(default_factory=list)

    def rate(self, start: float, end: float) -> float:
        """Tokens a second of streams that ended in between."""
        return sum(tokens for at, tokens in self.ends if start <= at < end) / (end - start)


class Connection(asyncio.Protocol):
    """One client: a request at a time, over one connection as long as that lasts."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    @property
    def open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """Send it; the whole answer comes, or what there is of one when the connection ends."""
        assert self.transport is not None
        self._data.clear()
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._data += data
        head = self._data.find(b"\r\n\r\n", 0, HEAD_BYTES)
        length = LENGTH.search(self._data, 0, head) if head >= 0 else None
        if length is not None:
            if len(self._data) >= head + 4 + int(length[1]):
                self._finish()
        elif head >= 0 and data.endswith(b"0\r\n\r\n"):
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()

    def _finish(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(bytes(self._data))


class Flood:
    """Clients of one server."""

    def __init__(self, host: str, port: int, tokens: int) -> None:
        self.seen = Seen()
        self._where = host, port
        self._over = asyncio.Event()
        body = {
            "prompt": "A joiner cuts",
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        self._request = _post("/v1/completions", host, json.dumps(body).encode())

    async def run(self, clients: int, every_s: float, seconds: float) -> None:
        """So many clients at once, each with a request due every so often; 0: as soon as the last has ended."""
        self._over.clear()
        self.seen = Seen(time.monotonic())
        tasks = [asyncio.create_task(self._watch_health())]
        tasks += [
            asyncio.create_task(self._client(every_s * number / clients, every_s))
            for number in range(clients)
        ]
        await asyncio.sleep(seconds)
        self._over.set()
        await asyncio.gather(*tasks)

    async def _client(self, first_s: float, every_s: float) -> None:
        connection = Connection()
        due = time.monotonic() + first_s
        while not self._over.is_set():
            await self._wait(due - time.monotonic())
            if self._over.is_set():
                break
            due = max(due, time.monotonic() - every_s) + every_s
            try:
                connection = await self._connected(connection)
                async with asyncio.timeout(HANGS_S):
                    self._judge(await connection.ask(self._request))
            except TimeoutError:
                self.seen.wrong["hangs"] += 1
                break
            except OSError as error:
                self.seen.wrong[f"no connection: {error.strerror}"] += 1
        if connection.transport is not None:
            connection.transport.close()

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            try:
                await asyncio.wait_for(self._over.wait(), seconds)
            except TimeoutError:
                return

    async def _connected(self, connection: Connection) -> Connection:
        if connection.open:
            return connection
        _, made = await asyncio.get_running_loop().create_connection(Connection, *self._where)
        return made

    def _judge(self, answer: bytes) -> None:
        seen = self.seen
        status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
        if status == 200:
            usage = USAGE.search(answer, max(0, len(answer) - 1024))
            if usage is None or b"data: [DONE]" not in answer[-64:]:
                seen.wrong["a stream that broke"] += 1
            else:
                seen.ends.append((time.monotonic(), int(usage[1])))
            return
        seen.refusals[status] += 1
        if status not in (429, 503) or b"retry-after: " not in answer.lower():
            seen.wrong[f"status {status}: {answer[-200:]!r}"] += 1

    async def _watch_health(self) -> None:
        """Ask over a new connection each time, as load balancers do."""
        request = f"GET /health HTTP/1.1\r\nHost: {self._where[0]}\r\n\r\n".encode()
        while not self._over.is_set():
            started = time.monotonic()
            connection = await self._connected(Connection())
            answer = await connection.ask(request)
            self.seen.health_s.append(time.monotonic() - started)
            if not answer.startswith(b"HTTP/1.1 200"):
                self.seen.wrong[f"/health: {answer[:60]!r}"] += 1
            assert connection.transport is not None
            connection.transport.close()
            await self._wait(0.25)


def _post(path: str, host: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


# ------------------------------------------------------------------------------------------------- the server


def start_server(given: argparse.Namespace) -> tuple[subprocess.Popen[str], str, int]:
    """A server on a free port; returns it with its host and port."""
    command = [sys.executable, "-m", "dovetail.cli.main", "serve", given.model, "--port", "0"]
    command += ["--platform", given.platform, "--max-num-seqs", str(given.streams)]
    command += ["--max-queue", str(given.max_queue), "--log-level", "warning"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"http://([^:/]+):(\d+)", line):
            return server, found[1], int(found[2])
    raise SystemExit(f"error: the server ended with status {server.wait()}")


def holdings(pid: int) -> tuple[int, int]:
    """Descriptors and bytes of a server and the processes below it."""
    pids = [pid]
    for each in pids:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            pids += map(int, task.read_text().split())
    files = sum(len(os.listdir(f"/proc/{each}/fd")) for each in pids)
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in pids)
    return files, pages * os.sysconf("SC_PAGESIZE")


async def at_rest(pid: int, host: str, port: int, files: int) -> tuple[list[str], int]:
    """What is not free again after a while, and the bytes that are held then."""
    request = f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    left: list[str] = []
    ends = time.monotonic() + SETTLE_S
    while time.monotonic() < ends:
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(Connection, host, port)
        text = (await connection.ask(request)).decode()
        transport.close()
        await asyncio.sleep(0.3)
        left = [f"{name} is {value}" for name, value in GAUGE.findall(text) if float(value)]
        now, held = holdings(pid)
        if now > files:
            left.append(f"{now} descriptors are open, {files} were")
        if not left:
            break
    return left, held


async def measured(given: argparse.Namespace, pid: int, host: str, port: int) -> dict[str, Any]:
    """The moderate load, the flood, and the rest after it."""
    flood = Flood(host, port, given.tokens)
    await flood.run(given.streams, 0.0, 2.0)  # everything has been used once
    files, before = holdings(pid)
    await flood.run(given.streams * 3 // 2, 0.0, given.seconds)
    calm = flood.seen
    ended = [at for at, _ in calm.ends]
    peak = calm.rate(calm.since + 1, calm.since + given.seconds)
    per_s = sum(at >= calm.since + 1 for at in ended) / (given.seconds - 1)
    await flood.run(given.connections, given.connections / (given.times * per_s), given.seconds)
    seen = flood.seen
    goodput = seen.rate(seen.since + given.seconds / 4, seen.since + given.seconds)
    left, held = await at_rest(pid, host, port, files)
    return {
        "peak_tokens_per_s": peak,
        "flood_tokens_per_s": goodput,
        "share": goodput / peak,
        "asked_per_s": (len(seen.ends) + seen.refusals.total()) / given.seconds,
        "times": (len(seen.ends) + seen.refusals.total()) / given.seconds / per_s,
        "completed": len(seen.ends),
        "refused": {str(status): count for status, count in seen.refusals.items()},
        "health_ms_median": 1e3 * statistics.median(seen.health_s),
        "health_ms_max": 1e3 * max(seen.health_s),
        "memory_mib": (held - before) / 2**20,
        "wrong": dict(calm.wrong + seen.wrong),
        "left": left,
    }


def verdict(found: dict[str, Any]) -> list[str]:
    """What was promised and not kept."""
    wrong = [f"{count} times {text}" for text, count in found["wrong"].items()]
    wrong += found["left"]
    if found["share"] < SHARE:
        wrong.append(f"{found['share']:.0%} of the peak, {SHARE:.0%} are due")
    if found["health_ms_max"] >= 1e3 * HEALTH_S:
        wrong.append(f"/health took {found['health_ms_max']:.0f} ms")
    if found["memory_mib"] > MARGIN_BYTES / 2**20:
        wrong.append(f"{found['memory_mib']:.0f} MiB more are held than before")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--platform", default="fault:slow=0.01")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--streams", type=int, default=32, help="that the server runs at a time")
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--times", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--max-queue", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server, host, port = start_server(given)
    try:
        found = uvloop.run(measured(given, server.pid, host, port))
    finally:
        server.terminate()
        status = server.wait()
    wrong = verdict(found) + [f"the server ended with status {status}"] * bool(status)
    if given.json:
        print(json.dumps({**found, "violations": wrong}))
    else:
        for name, value in found.items():
            print(f"{name:20} {value:.2f}" if isinstance(value, float) else f"{name:20} {value}")
        print(f"{len(wrong)} violations")
        for text in wrong:
            print(f"WRONG {text}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
