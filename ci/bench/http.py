"""Tokens per second that the HTTP server delivers to many streams, with a platform that computes nothing.

    python ci/bench/http.py [--model DIR] [--streams 64] [--tokens 512] [--repeats 5] [--json]

The server runs as its own process (and its engine as another); the client is this one: raw sockets, as little work per
byte as possible, because it shares the machine. Tokens are counted by the server's own usage chunk; an event carries
all tokens that came while the one before was written, so there are fewer events than tokens.

Besides the rates, which other work on the machine lowers, it tells the processor time of the server's and of the
engine's process per token and per request (Linux): this hardly depends on what else runs. With --tokens 1 it is what
a request costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import uvloop

USAGE = re.compile(rb'"completion_tokens":(\d+)')
TAIL = 1024  # bytes at the end of a reply that hold the usage chunk


@dataclass(slots=True)
class Reply:
    """What came back for one request: when data arrived, in how many events, and the end of it."""

    started: float
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    tail: bytes = b""

    @property
    def tokens(self) -> int:
        """As the server counted them."""
        found = USAGE.search(self.tail)
        if found is None:
            raise SystemExit(f"error: a reply ended without its usage: {self.tail[-300:]!r}")
        return int(found[1])


class Client(asyncio.Protocol):
    """One request on one connection."""

    def __init__(self, request: bytes) -> None:
        self.reply = Reply(time.perf_counter())
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        reply = self.reply
        reply.arrivals.append((time.perf_counter(), data.count(b"data: ")))
        reply.tail = (reply.tail + data)[-TAIL:]
        if data.endswith(b"0\r\n\r\n") and self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def start_server(model: str, streams: int) -> tuple[subprocess.Popen[str], str, int]:
    """A server on a free port; returns it with its host and port."""
    command = [sys.executable, "-m", "dovetail.cli.main", "serve", model]
    command += ["--platform", "null", "--port", "0", "--max-num-seqs", str(max(streams, 1))]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"http://([^:/]+):(\d+)", line):
            return server, found[1], int(found[2])
    raise SystemExit(f"error: the server ended with status {server.wait()}")


def request_of(host: str, index: int, tokens: int) -> bytes:
    """A streamed chat of exactly `tokens` tokens."""
    body = json.dumps(
        {
            "messages": [{"role": "user", "content": f"stream number {index}"}],
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    )
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for each in lists for child in each.read_text().split()]


def processor_s(pid: int) -> float:
    """Seconds that a process has computed, all its threads together, outside the kernel and in it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def processor_times(server: int) -> tuple[float, float]:
    """Of the server's process, and of all those below it."""
    below, waiting = 0.0, children(server)
    while waiting:
        pid = waiting.pop()
        below += processor_s(pid)
        waiting += children(pid)
    return processor_s(server), below


async def round_of(
    server: int, host: str, port: int, streams: int, tokens: int
) -> dict[str, float]:
    """All streams at once; returns what was measured. server: its process."""
    loop = asyncio.get_running_loop()
    before = processor_times(server)
    started = time.perf_counter()

    async def one(index: int) -> Reply:
        request = request_of(host, index, tokens)
        _, client = await loop.create_connection(lambda: Client(request), host, port)
        await client.done
        return client.reply

    replies = await asyncio.gather(*[one(index) for index in range(streams)])
    elapsed = time.perf_counter() - started
    busy = [now - then for now, then in zip(processor_times(server), before, strict=True)]
    tokens_out = sum(reply.tokens for reply in replies)
    events = sum(count for reply in replies for _, count in reply.arrivals)
    return {
        "tokens_per_s": tokens_out / elapsed,
        "events_per_s": events / elapsed,
        "tokens": tokens_out,
        "events": events,
        "server_s": busy[0],
        "engine_s": busy[1],
        **waits(replies),
    }


def waits(replies: Sequence[Reply]) -> dict[str, float]:
    """Percentiles of the time to the first data and between deliveries, in milliseconds."""
    first = [(reply.arrivals[0][0] - reply.started) * 1e3 for reply in replies]
    gaps = [
        (now[0] - before[0]) * 1e3
        for reply in replies
        for before, now in zip(reply.arrivals, reply.arrivals[1:], strict=False)
    ]
    result = {}
    for name, values in (("first_token_ms", sorted(first)), ("inter_token_ms", sorted(gaps))):
        for share in (50, 99):
            place = min(len(values) - 1, len(values) * share // 100)
            result[f"{name}_p{share}"] = values[place] if values else math.nan
    return result


def measure(model: str, streams: int, tokens: int, repeats: int) -> dict[str, Any]:
    """The median of the repeats, after one that does not count."""
    server, host, port = start_server(model, streams)

    async def rounds() -> list[dict[str, float]]:
        await round_of(server.pid, host, port, streams, min(tokens, 64))
        return [await round_of(server.pid, host, port, streams, tokens) for _ in range(repeats)]

    try:
        results = uvloop.run(rounds())
    finally:
        server.terminate()
        server.wait()
    medians = {name: statistics.median(r[name] for r in results) for name in results[0]}
    rates = [round(r["tokens_per_s"]) for r in results]
    return {
        **medians,
        **costs(results, streams),
        "streams": streams,
        "tokens": tokens,
        "rates": rates,
    }


def costs(results: Sequence[dict[str, float]], streams: int) -> dict[str, float]:
    """Processor time of all rounds together, in microseconds: the clock of a process ticks every ten milliseconds."""
    total = {name: sum(result[name] for result in results) for name in results[0]}
    return {
        "server_us_per_token": total["server_s"] / total["tokens"] * 1e6,
        "engine_us_per_token": total["engine_s"] / total["tokens"] * 1e6,
        "server_us_per_event": total["server_s"] / total["events"] * 1e6,
        "server_us_per_request": total["server_s"] / len(results) / streams * 1e6,
        "engine_us_per_request": total["engine_s"] / len(results) / streams * 1e6,
    }


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = measure(given.model, given.streams, given.tokens, given.repeats)
    if given.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:22} {value:.2f}" if isinstance(value, float) else f"{name:22} {value}")


if __name__ == "__main__":
    main()
