"""How a server ends when it is told to."""

from __future__ import annotations

import contextlib
import http.client
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import exit_status, in_time, until

from .serving import Server, alive

SLOW, SOME = "fault:slow=0.01", 300
"""A device on which so many tokens take seconds."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("more", [[], ["--in-process"]])
def test_a_signal_ends_an_idle_server(
    started: list[Server], checkpoint: Path, number: int, more: list[str]
) -> None:
    server = Server(checkpoint, *more)
    started.append(server)
    engines = server.children()
    assert len(engines) == (0 if more else 1)
    assert server.end(number) == 0
    assert not any(alive(pid) for pid in engines)
    assert server.process.stderr is not None and server.process.stderr.read() == ""


def whole(stream: Any) -> bool:
    """Whether a stream, read as far as it goes, has all the tokens that were asked for."""
    with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
        return b'"finish_reason":"length"' in in_time("the stream has ended", stream.read)
    return False


@pytest.mark.defends(
    "a signal to stop",
    "running requests are finished first, and the status is 0",
    without=(
        "dovetail.server.serve",
        "app.draining = True",
        "app.draining = web.force_exit = True",
    ),
)
def test_running_requests_are_finished_after_a_signal(started: list[Server], endless: Path) -> None:
    server = Server(endless, "--platform", SLOW)
    started.append(server)
    stream = server.stream(SOME)
    server.process.send_signal(signal.SIGTERM)
    until("the server takes no more requests", lambda: server.status("/ready") != 200)
    assert server.status("/health") == 200
    assert server.post("/v1/completions", {"prompt": "x"}) == 503
    assert whole(stream)
    assert exit_status(server.process) == 0


@pytest.mark.defends(
    "a signal to stop",
    "a second signal waits for nobody",
    without=("dovetail.server.serve", "web.force_exit = web.should_exit = True", "pass"),
)
def test_a_second_signal_does_not_wait(started: list[Server], endless: Path) -> None:
    server = Server(endless, "--platform", SLOW)
    started.append(server)
    stream = server.stream(SOME)
    server.process.send_signal(signal.SIGTERM)
    until("the server takes no more requests", lambda: server.status("/ready") != 200)
    server.process.send_signal(signal.SIGTERM)
    assert not whole(stream)
    assert exit_status(server.process) == 0


@pytest.mark.defends(
    "a signal to stop",
    "requests that take longer than they may are ended",
    without=(
        "dovetail.server.serve",
        "if asyncio.get_running_loop().time() > deadline:",
        "if False:",
    ),
)
def test_the_timeout_of_the_shutdown_holds(started: list[Server], endless: Path) -> None:
    server = Server(endless, "--platform", SLOW, "--shutdown-timeout-s", "0")
    started.append(server)
    stream = server.stream(SOME)
    server.process.send_signal(signal.SIGTERM)
    assert not whole(stream)
    assert exit_status(server.process) == 0
