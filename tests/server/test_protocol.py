"""What is bounded before a request is known: the size of its head, and the time until it is there."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import in_time

from .conftest import Running

START = b"GET /health HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def hasty(checkpoint: Path) -> Iterator[Running]:
    """A server that waits for a head hardly at all."""
    running = Running(checkpoint, head_timeout_s=0.3)
    yield running
    running.stop()


def answer_to(server: Any, data: bytes) -> bytes:
    """All that comes until the server closes the connection."""
    got: list[bytes] = []
    with socket.create_connection(("127.0.0.1", server.port)) as connection:

        def exchange() -> None:
            with contextlib.suppress(ConnectionError):  # closed while there was more to send
                connection.sendall(data)
                while part := connection.recv(65536):
                    got.append(part)

        in_time("the server has closed the connection", exchange)
    return b"".join(got)


@pytest.mark.defends(
    "bodies and slow clients",
    "heads are bounded in lines and bytes",
    without=("dovetail.server.protocol", "if len(self.headers) >= MAX_HEADERS:", "if False:"),
)
@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"a%d: b\r\n" % i for i in range(200)) + b"\r\n",
        b"a: " + b"x" * (66 << 10) + b"\r\n\r\n",
        b"".join(b"a%d: " % i + b"x" * 4096 + b"\r\n" for i in range(20)) + b"\r\n",
    ],
)
def test_a_large_head_is_refused(server: Any, head: bytes) -> None:
    assert answer_to(server, START + head).startswith(b"HTTP/1.1 431 ")
    assert server.raw("GET", "/health")[0] == 200


@pytest.mark.parametrize(
    "start", [START + b"a: ", b"GET /", START + b"Transfer-Encoding: chunked\r\n\r\n1;"]
)
def test_a_head_without_an_end_is_cut_off(server: Any, start: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(start)
        with pytest.raises(ConnectionError):
            while True:
                connection.sendall(b"x" * 16384)


def test_heads_up_to_the_bounds_are_read(server: Any) -> None:
    head = b"".join(b"a%d: " % i + b"x" * 400 + b"\r\n" for i in range(120))
    got = answer_to(server, START + head + b"Connection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 ")


def test_bodies_in_small_chunks_are_read(server: Any) -> None:
    body = b'{"prompt": "x", "max_tokens": 1, "user": "' + b"x" * 20_000 + b'"}'
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    assert answer_to(server, head + chunks).startswith(b"HTTP/1.1 200 ")


@pytest.mark.defends(
    "bodies and slow clients",
    "a connection on which no head arrives is closed",
    without=(
        "dovetail.server.protocol",
        "self._timer = self.loop.call_later(self.head_timeout_s, self.transport.close)",
        "self._timer = self.loop.call_later(3600, self.transport.close)",
    ),
)
@pytest.mark.parametrize("start", [b"", b"GET /hea", START + b"a: b\r\n"])
def test_a_connection_without_a_request_is_closed(hasty: Any, start: bytes) -> None:
    assert answer_to(hasty, start) == b""


@pytest.mark.parametrize("more", [b"", b"GET /health HT"])
def test_a_connection_without_another_request_is_closed(hasty: Any, more: bytes) -> None:
    got = answer_to(hasty, START + b"\r\n" + more)
    assert got.startswith(b"HTTP/1.1 200 ") and got.count(b"HTTP/1.1") == 1


def test_a_running_request_is_not_cut_off(hasty: Any) -> None:
    body = {"prompt": "x", "max_tokens": 3000, "ignore_eos": True}
    status, answer = hasty.post("/v1/completions", body)
    assert status == 200 and answer["usage"]["completion_tokens"] == 3000
