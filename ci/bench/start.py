"""From the start of `dovetail serve` to its first token over HTTP, and the memory of all its processes.

    python ci/bench/start.py MODEL [--runs 5] [--load 32] [--json] [-- --quantization int8 ...]

MODEL is a directory or "demo"; what follows `--` goes to `dovetail serve`. The first run has an empty weight cache of its
own (cold: nothing of ours on disk, though the model's files may be in the page cache), all others find what it left
(warm). A run starts the server, sends one streamed request as soon as the port is bound, stops the clock at the first
event with text or a token, then sends `--load` requests at once and reads the memory when they have ended.

first_s    process start to first token; cold is one number, warm the median of the rest
peak_mb    the most that was seen of the sum over all processes, read every 20 ms (PSS: shared pages counted once)
first_mb   the same sum when the first token was there
end_mb     at the end of the load
private_mb of it, what no file backs (anonymous)
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MB = 1e6
PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Run:
    """One start, in seconds and megabytes."""

    first_s: float
    peak_mb: float
    first_mb: float
    end_mb: float
    private_mb: float


def family(pid: int) -> list[int]:
    """A process and all it has started."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return [pid]
    return [pid, *(member for child in text.split() for member in family(int(child)))]


def memory_mb(pid: int) -> tuple[float, float]:
    """Proportional and anonymous memory of a process and all it has started."""
    total = private = 0
    for member in family(pid):
        try:
            text = Path(f"/proc/{member}/smaps_rollup").read_text()
        except OSError:  # it has ended
            continue
        sizes = {name: int(kib) for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.M)}
        total += sizes.get("Pss", 0)
        private += sizes.get("Pss_Anon", sizes.get("Anonymous", 0))
    return total * 1024 / MB, private * 1024 / MB


class Watch:
    """The most memory seen while it runs."""

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(0.02):
            self.peak_mb = max(self.peak_mb, memory_mb(self._pid)[0])

    def stop(self) -> float:
        self._end.set()
        self._thread.join()
        return self.peak_mb


def free_port() -> int:
    """One that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connect(port: int, server: subprocess.Popen[bytes]) -> socket.socket:
    """As soon as the port is bound: a request then waits in the backlog until the server is ready."""
    deadline = time.monotonic() + PATIENCE_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        except ConnectionRefusedError:
            time.sleep(0.002)
    raise SystemExit(f"the server did not start (status {server.poll()})")


def ask(connection: socket.socket, prompt: Sequence[int], tokens: int) -> float:
    """One streamed completion, read to its end; the time of its first event."""
    body = json.dumps(
        {
            "prompt": list(prompt),
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
        }
    )
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    first, status = 0.0, ""
    with connection, connection.makefile("rb") as lines:
        connection.sendall((head + body).encode())
        for line in lines:
            status = status or line.decode().strip()
            if line.startswith(b"data: {") and not first:
                first = time.perf_counter()
    if not first:
        raise SystemExit(f"a request was answered with {status!r} and no token")
    return first


def load(port: int, server: subprocess.Popen[bytes], requests: int) -> None:
    """Requests of 256 + 32 tokens, all at once."""

    def one(number: int) -> None:
        prompt = [300 + (number * 131 + at * 17) % 200 for at in range(256)]
        ask(connect(port, server), prompt, 32)

    with concurrent.futures.ThreadPoolExecutor(max(1, requests)) as pool:
        list(pool.map(one, range(requests)))


def run(model: str, cache: Path, requests: int, options: Sequence[str]) -> Run:
    """Start a server, time its first token, load it, read its memory, stop it."""
    port = free_port()
    words = [sys.executable, "-m", "dovetail.cli.main", "serve", model, "--port", str(port)]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    with subprocess.Popen([*words, *options], stdout=subprocess.DEVNULL, env=environment) as server:
        try:
            watch = Watch(server.pid)
            first = ask(connect(port, server), range(300, 316), 1) - started
            first_mb = memory_mb(server.pid)[0]
            load(port, server, requests)
            end_mb, private_mb = memory_mb(server.pid)
            return Run(first, watch.stop(), first_mb, end_mb, private_mb)
        finally:
            server.send_signal(signal.SIGTERM)


def table(runs: Sequence[Run]) -> str:
    """Cold first, then the median of the warm ones with their range."""
    rows = [("cold", [runs[0]]), ("warm", list(runs[1:]))]
    lines = [f"{'':5}{'first_s':>18}{'peak_mb':>9}{'first_mb':>9}{'end_mb':>9}{'private_mb':>11}"]
    for name, some in rows:
        if not some:
            continue
        middle = {key: statistics.median(asdict(r)[key] for r in some) for key in asdict(some[0])}
        low, high = min(r.first_s for r in some), max(r.first_s for r in some)
        first = f"{middle['first_s']:.2f} ({low:.2f}-{high:.2f})"
        lines.append(
            f"{name:5}{first:>18}{middle['peak_mb']:>9.0f}{middle['first_mb']:>9.0f}"
            f"{middle['end_mb']:>9.0f}{middle['private_mb']:>11.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    words, _, options = " ".join(sys.argv[1:]).partition(" -- ")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--runs", type=int, default=5, help="warm starts, after the cold one")
    parser.add_argument("--load", type=int, default=32, help="requests at once after the first")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(words.split())
    with tempfile.TemporaryDirectory() as cache:
        runs = [
            run(given.model, Path(cache), given.load, options.split())
            for _ in range(1 + given.runs)
        ]
    if given.json:
        print(json.dumps([asdict(each) for each in runs], indent=2))
    else:
        print(table(runs))


if __name__ == "__main__":
    main()
