"""Requests of every kind, over and over: nothing that the server or the engine holds grows with them."""

from __future__ import annotations

import asyncio
import gc
import heapq
import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until

from .conftest import Running, make_checkpoint

WAVES = 4
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/completions", {"prompt": "one two", "max_tokens": 6}),
    ("/v1/completions", {"prompt": "one two", "max_tokens": 6, "n": 3, "logprobs": 2}),
    ("/v1/completions", {"prompt": "x", "max_tokens": 6, "repetition_penalty": 1.3}),
    ("/v1/completions", {"prompt": "x", "max_tokens": 4, "guided_regex": "[ab]{2}"}),
    ("/v1/completions", {"prompt": "x", "max_tokens": 4, "guided_regex": "("}),
    ("/v1/completions", {"prompt": "x", "max_tokens": 4, "mirostat": 2}),
    ("/v1/completions", {"prompt": "x", "max_tokens": 4, "allowed_token_ids": [5, 6]}),
    ("/v1/completions", {"prompt": "x", "max_tokens": 90_000, "timeout": 0.05}),
    ("/v1/completions", {"prompt": "x" * 200_000, "max_tokens": 6}),
    ("/v1/completions", {"prompt": "x", "max_tokens": -1}),
    ("/v1/completions", {"prompt": [7, 8, 9], "max_tokens": 5, "stream": True}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5}),
    ("/v1/responses", {"input": "x", "max_output_tokens": 3, "store": False}),
    ("/api/generate", {"model": "tiny", "prompt": "x", "options": {"num_predict": 3}}),
    ("/tokenize", {"prompt": "one two"}),
    ("/nowhere", {}),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One of its own, so that what it holds is counted, with a cache that is soon full."""
    directory = tmp_path_factory.mktemp("run") / "tiny"
    running = Running(make_checkpoint(directory, context=100_000), block_size=16)
    yield running
    running.stop()


def wave(server: Running) -> None:
    for path, body in ASKED:
        data = json.dumps({"temperature": 0, **body}).encode()
        server.raw("POST", path, data, {"content-type": "application/json"})
    for path in ("/health", "/metrics", "/v1/models"):
        server.raw("GET", path)
    leave(server)


def leave(server: Running) -> None:
    """A client that goes away in the middle of its stream."""
    body = json.dumps({"prompt": "x", "max_tokens": 90_000, "temperature": 0, "stream": True})
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert b"200 OK" in connection.recv(100)
    state = server._web.server_state
    until(
        "the server has noticed that the client left",
        lambda: not (state.tasks or state.connections),
    )
    until("its request has ended", lambda: not server.metric("num_requests_running"))


async def drop_cancelled_timers() -> None:
    """Python's own event loop keeps them, and all they refer to, until they would have been due; uvloop does not."""
    loop: Any = asyncio.get_running_loop()
    loop._scheduled[:] = [timer for timer in loop._scheduled if not timer.cancelled()]
    heapq.heapify(loop._scheduled)
    loop._timer_cancelled_count = 0


def held(server: Running) -> tuple[Counter[str], int, int]:
    """Objects of our own kinds, descriptors and threads."""
    server.call(drop_cancelled_timers())
    gc.collect()
    kinds = [type(found) for found in gc.get_objects()]
    ours = [kind for kind in kinds if str(kind.__module__).startswith("dovetail")]
    return (
        Counter(kind.__qualname__ for kind in ours),
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
    )


@pytest.mark.defends(
    "a long run",
    "what was held for a request is let go with it: objects, descriptors and threads stay as many",
    without=("dovetail.engine.streams", "                del self._open[output.request_id]\n", ""),
)
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
def test_nothing_grows_with_the_number_of_requests(server: Running) -> None:
    for _ in range(2):
        wave(server)
    before, files, threads = held(server)
    for _ in range(WAVES):
        wave(server)
    after, files_after, threads_after = held(server)
    blocks = after.pop("Node", 0)  # a cached block's: there is a most of those
    grown = {name: after[name] - before[name] for name in after if after[name] > before[name]}
    assert all(more < WAVES for more in grown.values()), grown
    assert blocks <= server.served.engine.info.num_blocks + 1
    assert files_after - files < WAVES and threads_after - threads < WAVES
    assert server.metric("kv_cache_usage_perc") == 0
