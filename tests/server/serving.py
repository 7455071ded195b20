"""A server as a process of its own, for tests that end it or parts of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.waiting import exit_status, in_time

COMMAND = [sys.executable, "-m", "dovetail.cli.main", "serve", "--platform", "null"]


class Server:
    """`dovetail serve` on a free port."""

    def __init__(self, model: Path | str, *more: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, str(model), "--port", "0", *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        first, self.line = self.process.stdout.readline(), self.process.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:(\d+))", self.line)
        if not first.startswith(("engine: null", "engine: fault")) or found is None:
            self.process.kill()
            raise AssertionError((first, self.line, self.process.communicate()))
        self.url, self.port = found[1], int(found[2])

    def status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(self.url + path) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def post(self, path: str, body: Any) -> int:
        """The status of the answer."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def stream(self, max_tokens: int) -> Any:
        """A streamed completion that has begun."""
        body = {"prompt": "x", "max_tokens": max_tokens, "ignore_eos": True, "stream": True}
        request = urllib.request.Request(
            f"{self.url}/v1/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        answer = urllib.request.urlopen(request)
        assert answer.readline().startswith(b"data: ")
        return answer

    def children(self) -> list[int]:
        task = Path(f"/proc/{self.process.pid}/task")
        return [
            int(pid) for each in task.iterdir() for pid in (each / "children").read_text().split()
        ]

    def end(self, *signals: int) -> int:
        for number in signals:
            self.process.send_signal(number)
        return exit_status(self.process)


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def last_error(stream: Any) -> dict[str, Any]:
    """The error that ends a stream, before [DONE]."""
    lines = in_time("the stream has ended", lambda: list(stream))
    events = [line for line in lines if line.startswith(b"data: ")]
    assert events[-1] == b"data: [DONE]\n"
    error: dict[str, Any] = json.loads(events[-2].removeprefix(b"data: "))["error"]
    return error
