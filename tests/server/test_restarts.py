"""An engine that dies or hangs: what its clients are told, and what becomes of it and of the server."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.waiting import Patience, exit_status, until

from .serving import Server, alive, last_error


@pytest.mark.defends(
    "the engine ends or hangs",
    "its requests end with an error at once, and another is started",
    without=(
        "dovetail.engine.supervised",
        "if self._fruitless > self._config.max_restarts or self._config.max_restarts == 0:",
        "if True:",
    ),
)
def test_an_engine_that_dies_is_told_and_started_again(
    started: list[Server], endless: Path
) -> None:
    server = Server(endless)
    started.append(server)
    for _ in range(3):
        stream = server.stream(900_000)
        (engine,) = server.children()
        os.kill(engine, signal.SIGKILL)
        error = last_error(stream)
        assert error["code"] == "service_unavailable"
        until("another engine runs", lambda: server.status("/health") == 200)
        assert server.children() != [engine]
    assert server.end(signal.SIGTERM) == 0


@pytest.mark.defends(
    "the engine ends or hangs",
    "a step that takes too long is the end of the engine",
    without=(
        "dovetail.engine.supervised",
        "return limit > 0 and self._client.silent_s() > limit",
        "return False",
    ),
)
def test_an_engine_that_hangs_is_killed_and_started_again(
    started: list[Server], endless: Path
) -> None:
    server = Server(endless, "--platform", "fault:hang@5", "--step-timeout-s", "1")
    started.append(server)
    before = server.children()
    error = last_error(server.stream(900_000))
    assert "a step took more than 1 s" in error["message"]
    until("another engine runs", lambda: server.status("/ready") == 200)
    assert server.children() != before


@pytest.mark.defends(
    "the engine ends or hangs",
    "an engine does not outlive its server, also while it hangs",
    without=("dovetail.engine.worker", "    die_with_parent()\n    signal", "    signal"),
)
def test_a_hanging_engine_does_not_outlive_a_killed_server(
    started: list[Server], endless: Path
) -> None:
    server = Server(endless, "--platform", "fault:hang@5")
    started.append(server)
    (engine,) = server.children()
    stream = server.stream(900_000)
    stream.readline()
    server.end(signal.SIGKILL)
    stream.close()
    try:
        until(f"engine {engine} has ended with its server", lambda: not alive(engine))
    finally:
        if alive(engine):
            os.kill(engine, signal.SIGKILL)


@pytest.mark.defends(
    "the engine ends or hangs",
    "an engine that keeps dying ends the server with status 1",
    without=(
        "dovetail.server.serve",
        'log.error("the engine is gone; the server stops")\n            return 1',
        "return 0",
    ),
)
def test_an_engine_that_keeps_dying_ends_the_server(started: list[Server], endless: Path) -> None:
    narrow = (
        "--max-num-batched-tokens",
        "8",
        "--max-num-seqs",
        "8",
    )  # so that step 5 is still prompt
    server = Server(endless, "--platform", "fault:device-lost@5", "--max-restarts", "1", *narrow)
    started.append(server)
    answers: list[int] = []
    patience = Patience("the server has given up on its engine")
    while server.process.poll() is None:
        patience.look()
        with contextlib.suppress(OSError):
            answers.append(server.status("/health"))
            server.post("/v1/completions", {"prompt": [1] * 90, "max_tokens": 4})
    assert exit_status(server.process) == 1
    assert set(answers) <= {200, 503}


def test_an_engine_that_dies_ends_the_server_if_it_is_not_to_be_started_again(
    started: list[Server], endless: Path
) -> None:
    server = Server(endless, "--max-restarts", "0")
    started.append(server)
    stream = server.stream(900_000)
    (engine,) = server.children()
    os.kill(engine, signal.SIGKILL)
    assert last_error(stream)["code"] == "service_unavailable"
    assert exit_status(server.process) == 1
