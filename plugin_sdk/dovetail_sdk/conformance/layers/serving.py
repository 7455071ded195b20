"""Serving: `dovetail serve` on the platform, as a process of its own, asked over HTTP with the standard library alone."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dovetail_sdk.conformance.check import Check, Failed, Unsupported, expect
from dovetail_sdk.conformance.context import Context
from dovetail_sdk.testing import write_checkpoint

CHECKPOINT = {"hidden_size": 128, "head_dim": 64, "max_position_embeddings": 4096}
URL = re.compile(r"http://([\d.]+):(\d+)")


def checks() -> Iterator[Check]:
    """One check per function below, by its name; they share a server."""
    functions: tuple[Callable[[Context], int | None], ...] = (
        it_is_healthy,
        a_reply_is_whole_and_repeatable,
        a_stream_says_what_the_reply_says,
        several_requests_at_once_get_their_own_replies,
        a_bad_request_is_refused_by_name,
        a_client_that_leaves_is_forgotten,
    )
    return (Check("serving", function.__name__, function) for function in functions)


class Server:
    """A server process on a free port."""

    def __init__(self, spec: str, directory: Path) -> None:
        model = write_checkpoint(directory / "model", **CHECKPOINT)
        command = [sys.executable, "-m", "dovetail.cli.main", "serve", str(model), "--port", "0"]
        command += ["--platform", spec, "--max-model-len", "2048", "--kv-cache-memory", "64M"]
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._errors = (directory / "errors").open("w+")
        self._process = subprocess.Popen(
            [*command, "--served-model-name", "tiny"],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        self.address = self._ready()

    def _ready(self) -> tuple[str, int]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := URL.search(line):
                return found[1], int(found[2])
        self._process.wait()
        self._errors.seek(0)
        raise Failed(f"dovetail serve did not start: {self._errors.read().strip()[-500:]}")

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def connect(self) -> http.client.HTTPConnection:
        """A connection of its own."""
        return http.client.HTTPConnection(*self.address)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and content."""
        connection = self.connect()
        try:
            send(connection, method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def complete(self, prompt: Any, **fields: Any) -> dict[str, Any]:
        """One completion; Failed unless the status is 200."""
        status, content = self.ask("POST", "/v1/completions", request(prompt, **fields))
        expect(status == 200, f"status {status}: {content[:300]!r}")
        found: dict[str, Any] = json.loads(content)
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


def send(connection: http.client.HTTPConnection, method: str, path: str, body: Any) -> None:
    """Issue a request; bytes as they are, anything else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
    connection.request(method, path, raw, {"content-type": "application/json"} if raw else {})


def request(prompt: Any, **fields: Any) -> dict[str, Any]:
    """A greedy completion of 12 tokens, unless other fields say so."""
    return {
        "model": "tiny",
        "prompt": prompt,
        "max_tokens": 12,
        "temperature": 0,
        "ignore_eos": True,
    } | fields


def served(context: Context) -> Server:
    """The context's server, started at first use; Unsupported for a platform that is not installed."""
    if context.spec is None:
        raise Unsupported("the platform is not installed, so no server can be told to use it")
    found = context.__dict__.get("server")
    if found is None:
        directory = context.held.enter_context(tempfile.TemporaryDirectory())
        found = Server(context.spec, Path(directory))
        context.held.callback(found.close)
        context.__dict__["server"] = found
    assert isinstance(found, Server)
    return found


def it_is_healthy(context: Context) -> None:
    """Health, readiness and the list of models."""
    server = served(context)
    for path in ("/health", "/ready"):
        expect(server.ask("GET", path)[0] == 200, f"{path} does not answer 200")
    status, content = server.ask("GET", "/v1/models")
    expect(status == 200 and json.loads(content)["data"][0]["id"] == "tiny", f"{content[:300]!r}")


def a_reply_is_whole_and_repeatable(context: Context) -> None:
    """As many tokens as asked for, the same ones again; sampled ones follow the seed."""
    server = served(context)
    first = server.complete("Once upon a time")
    usage = first["usage"]
    expect(usage["completion_tokens"] == 12, f"usage {usage}")
    expect(first["choices"][0]["finish_reason"] == "length", f"{first['choices'][0]}")
    again = server.complete("Once upon a time")
    expect(text_of(again) == text_of(first), f"{text_of(again)!r} after {text_of(first)!r}")
    fields = {"temperature": 1.0, "seed": 5, "top_p": 0.9}
    drawn = [text_of(server.complete("Once", **fields)) for _ in range(2)]
    expect(drawn[0] == drawn[1], f"the same seed gave {drawn}")


def a_stream_says_what_the_reply_says(context: Context) -> None:
    """Event by event, ended by [DONE]."""
    server = served(context)
    whole = text_of(server.complete("A stream of words", max_tokens=20))
    body = request("A stream of words", max_tokens=20, stream=True)
    status, content = server.ask("POST", "/v1/completions", body)
    events = [line[6:] for line in content.decode().splitlines() if line.startswith("data: ")]
    expect(status == 200 and events and events[-1] == "[DONE]", f"{status}: {content[-200:]!r}")
    parts = [json.loads(event)["choices"] for event in events[:-1]]
    joined = "".join(choices[0]["text"] for choices in parts if choices)
    expect(joined == whole, f"streamed {joined!r}, whole {whole!r}")
    expect(len(parts) > 1, "the stream is a single event")


def several_requests_at_once_get_their_own_replies(context: Context) -> int:
    """Requests of several lengths in flight together say what each says alone."""
    server = served(context)
    prompts = [[2 + (7 * i + j) % 250 for j in range(3 + 29 * i)] for i in range(5)]
    alone = [text_of(server.complete(prompt)) for prompt in prompts]
    connections = [server.connect() for _ in prompts]
    for connection, prompt in zip(connections, prompts, strict=True):
        send(connection, "POST", "/v1/completions", request(prompt))
    for connection, prompt, wanted in zip(connections, prompts, alone, strict=True):
        answer = connection.getresponse()
        found = text_of(json.loads(answer.read()))
        connection.close()
        expect(
            found == wanted, f"prompt of {len(prompt)}: {found!r} among others, {wanted!r} alone"
        )
    return len(prompts)


def a_bad_request_is_refused_by_name(context: Context) -> int:
    """400 with the parameter, and the server serves on."""
    server = served(context)
    cases: tuple[tuple[Any, str], ...] = (
        (request("x", temperature=-1), "temperature"),
        (request("x", max_tokens=100_000), "max_tokens"),
        (b"{not json", ""),
    )
    for body, word in cases:
        status, content = server.ask("POST", "/v1/completions", body)
        expect(400 <= status < 500, f"status {status} for {str(body)[:80]}")
        expect(word in content.decode(), f"{content[:200]!r} does not name {word}")
    text_of(server.complete("x"))
    return len(cases)


def a_client_that_leaves_is_forgotten(context: Context) -> None:
    """A stream that is closed after its first event ends its request; others are served."""
    server = served(context)
    connection = server.connect()
    body = request("Never ending", max_tokens=1900, stream=True)
    send(connection, "POST", "/v1/completions", body)
    expect(connection.getresponse().readline().startswith(b"data: "), "the stream did not begin")
    connection.close()
    text_of(server.complete("Still there?"))
    while running(server):
        expect(server.alive(), "the server ended")
    expect(server.ask("GET", "/health")[0] == 200, "it is not healthy any more")


def running(server: Server) -> int:
    """Requests that the engine computes."""
    _, content = server.ask("GET", "/metrics")
    found = re.search(r"^dovetail:num_requests_running\S* (\S+)$", content.decode(), re.MULTILINE)
    if found is None:
        raise Failed("/metrics does not say how many requests run")
    return int(float(found[1]))


def text_of(reply: dict[str, Any]) -> str:
    """The text of a reply's only choice."""
    text: str = reply["choices"][0]["text"]
    return text
