"""What is written down of requests, and what never is: prompts, keys, and lines that a client made up."""

from __future__ import annotations

import http.client
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dovetail.errors import EngineStopped, InvalidParameter
from dovetail.logs import FORMATS, JsonFormatter, TextFormatter, escaped
from dovetail.server.admin import ENDPOINTS as ADMIN
from dovetail.server.app import ENDPOINTS
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import exit_status, until

COMMAND = [sys.executable, "-m", "dovetail.cli.main", "serve", "--platform", "null", "--port", "0"]
KEY, WRONG, ADMIN_KEY = "canary-key-alpha", "canary-key-beta", "canary-key-gamma"
PROMPT = (
    "canary-prompt \x1b[31m\u2028\u202e\x85 first\n2026-01-01 00:00:00,000 ERROR dovetail forged"
)
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+ \S")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]")
BODIES: tuple[Any, ...] = (
    {
        "model": "tiny",
        "prompt": PROMPT,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 2,
    },
    {
        "prompt": PROMPT,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 2,
        "stream": True,
    },
    {"input": PROMPT, "inputs": PROMPT, "content": PROMPT, "text": PROMPT, "query": PROMPT},
    {"model": PROMPT, "messages": PROMPT, "prompt": {PROMPT: PROMPT}, "input": [{"x": PROMPT}]},
    {"prompt": "x", "user": PROMPT, "cache_salt": PROMPT, "stop": [PROMPT], PROMPT: PROMPT},
    {"prompt": "x", "structured_outputs": {"regex": f"({PROMPT}"}, "guided_regex": f"({PROMPT}"},
    f'{{"prompt": "{PROMPT}',
)


class Logged:
    """A server in two processes, all that it has written to stderr, and who asked it what."""

    def __init__(self, model: Path, form: str, keys: Path) -> None:
        keys.write_text(f'[[key]]\nname = "alice"\nkey = "{KEY}"\n')
        self.written = keys.with_name("stderr")
        flags = ["--log-level", "info", "--log-format", form, "--api-key-file", str(keys)]
        self.process = subprocess.Popen(
            [*COMMAND, str(model), *flags, "--admin-key", ADMIN_KEY, "--served-model-name", "tiny"],
            stdout=subprocess.PIPE,
            stderr=self.written.open("wb"),
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()
        found = re.search(rb"127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        assert found is not None
        self.port, self.asked = int(found[1]), 0

    def ask(self, method: str, path: str, body: Any = None, key: str = KEY, **more: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        named = {"content-type": "application/json", "authorization": f"Bearer {key}", **more}
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        try:
            connection.request(method, path, data and data.encode(), named)
            answer = connection.getresponse()
            answer.read()
            self.asked += 1
            return answer.status
        finally:
            connection.close()

    def engines(self) -> list[int]:
        task = Path(f"/proc/{self.process.pid}/task")
        children = [(each / "children").read_text().split() for each in task.iterdir()]
        return [int(pid) for pid in sum(children, [])]

    def end(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        exit_status(self.process)
        return self.written.read_text()


@pytest.fixture(params=FORMATS)
def logged(
    request: pytest.FixtureRequest, checkpoint: Path, tmp_path: Path
) -> Iterator[tuple[Logged, str]]:
    server = Logged(checkpoint, request.param, tmp_path / "keys.toml")
    yield server, request.param
    server.process.kill()
    server.process.wait()
    server.process.stdout.close()


@pytest.mark.defends(
    "logs",
    "prompts, replies, keys and query strings are not logged",
    without=(
        "dovetail.server.journal",
        'path=scope["path"],',
        'path=scope["path"] + "?" + scope["query_string"].decode(),',
    ),
)
def test_logs_hold_no_prompt_no_key_and_no_line_of_a_client(logged: tuple[Logged, str]) -> None:
    server, form = logged
    statuses = {server.ask("GET", "/v1/models/%0A2026-01-01%20forged%1b%5b2J%e2%80%a8?key=" + KEY)}
    for endpoint in (*ENDPOINTS, *ADMIN):
        path = endpoint.path.partition("{")[0] + ("tiny" if "{" in endpoint.path else "")
        key = ADMIN_KEY if endpoint.admin else KEY
        for body in BODIES if endpoint.method == "POST" else (None,):
            statuses.add(server.ask(endpoint.method, path, body, key))
        statuses.add(server.ask(endpoint.method, path, BODIES[0], WRONG))
    statuses.add(server.ask("POST", "/v1/completions", BODIES[0], **{"x-request-id": "mine-1"}))
    statuses.add(server.ask("POST", "/v1/completions", BODIES[0], **{"x-request-id": "two words"}))
    (engine,) = server.engines()
    os.kill(engine, signal.SIGKILL)
    until(
        "another engine runs",
        lambda: server.engines() not in ([], [engine]) and server.ask("GET", "/health") == 200,
    )
    assert statuses >= {200, 400, 401, 404}
    text = server.end()
    assert "canary" not in text and KEY not in text and not CONTROL.search(text)
    lines = text.splitlines()
    accesses = [line for line in lines if "dovetail.access" in line]
    assert len(accesses) == server.asked
    assert all(re.search(r"request_id\W+[\w-]+", line) for line in accesses)
    assert any("mine-1" in line and "alice" in line for line in accesses)
    assert any("restarts" in line for line in lines)
    if form == "text":
        assert all(LINE.match(line) or line.startswith("    ") for line in lines)
        assert any(" status=200 " in line and " generated_tokens=2 " in line for line in accesses)
    else:
        records = [json.loads(line) for line in lines]
        assert all({"time", "level", "logger", "message"} <= record.keys() for record in records)
        assert any(r.get("generated_tokens") == 2 and r["status"] == 200 for r in records)


def record_of(error: Exception, message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(
        "dovetail.x", 40, "f.py", 1, message, arguments, (type(error), error, None)
    )


@pytest.mark.defends(
    "logs",
    "control characters are written out, so that no text makes a line",
    without=("dovetail.logs", r'"[\x00-\x1f', r'"[\x00-\x09\x0b-\x1f'),
)
@given(st.text(max_size=50), st.text(max_size=50))
def test_no_text_makes_a_second_line(text: str, value: str) -> None:
    record = record_of(EngineStopped(text), "said=%s", text)
    record.fields = {"path": value}
    first, *more = TextFormatter().format(record).split("\n")
    assert LINE.match(first) and all(line.startswith("    ") for line in more)
    assert all(escaped(line) == line for line in (first, *more))
    assert first.endswith((f"path={value}", f"path={json.dumps(value)}"))
    line = JsonFormatter().format(record)
    assert line.isascii() and line.isprintable() and json.loads(line)["path"] == value


@pytest.mark.defends(
    "logs",
    "of an unforeseen error the kind and the places are logged, not its words",
    without=("dovetail.logs", "and not isinstance(error, RequestError)", ""),
)
def test_errors_are_told_without_what_a_client_sent() -> None:
    def chain() -> Exception:
        try:
            try:
                raise InvalidParameter("canary of a request")
            except InvalidParameter as error:
                raise KeyError("canary of a bug") from error
        except KeyError as error:
            return error

    error = chain()
    record = record_of(error, "failed")
    for formatter in (TextFormatter(), JsonFormatter()):
        told = formatter.format(record)
        assert "KeyError" in told and "InvalidParameter" in told and "canary" not in told
        assert "test_logs.py" in told and "in chain" in told
    assert "disk full" in TextFormatter().format(record_of(EngineStopped("disk full"), "failed"))


def test_what_cannot_be_formatted_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from dovetail.logs import start_logging

    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    start_logging("info", "text")
    handler = logging.StreamHandler(written)
    handler.setFormatter(TextFormatter())
    handler.handle(logging.LogRecord("dovetail.x", 40, "f.py", 1, "%d", ("canary",), None))
    assert "canary" not in written.getvalue()
