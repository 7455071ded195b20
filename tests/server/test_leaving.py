"""A client that leaves before anything runs for it: what was begun is given up, and nothing ever runs."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from dovetail.server.served import LONG_CHARACTERS
from dovetail.structured.check import GrammarCheck
from dovetail.text.template import ChatTemplate
from dovetail.text.tokenizer import Tokenizer

from tests.waiting import until

from .conftest import Running

LONG = "word " * (LONG_CHARACTERS // 5 + 1)
CHAT = {"messages": [{"role": "user", "content": LONG}], "max_tokens": 5}
# what is being done when the client leaves -> by whom, the path and the body
DOING: dict[str, tuple[Any, str, str, dict[str, Any]]] = {
    "rendering": (ChatTemplate, "render", "/v1/chat/completions", CHAT),
    "tokenizing": (Tokenizer, "encode", "/v1/completions", {"prompt": LONG, "max_tokens": 5}),
    "checking a grammar": (
        GrammarCheck,
        "_ask",
        "/v1/completions",
        {"prompt": "x", "max_tokens": 5, "guided_regex": "a[bc]+"},
    ),
}


class Held:
    """A method that waits on the way in, until it is let go."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        method = getattr(owner, name)

        def held(*arguments: Any, **options: Any) -> Any:
            self.entered.set()
            self.go.wait()
            return method(*arguments, **options)

        patch.setattr(owner, name, held)


def send(server: Running, path: str, body: bytes, *, length: int | None = None) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {length or len(body)}\r\n\r\n".encode() + body)
    return connection


def gone(server: Running) -> None:
    """Until the server has noticed that all clients have left."""
    until("all clients are gone", lambda: not server._web.server_state.connections)


def idle(server: Running) -> None:
    """Until nobody works on a request any more."""
    until("nobody works on a request", lambda: not server._web.server_state.tasks)


@pytest.fixture
def submitted(server: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Requests that reached the engine."""
    engine, found = server.served.engine, []
    submit = engine.submit

    async def noted(request: Any) -> Any:
        found.append(request)
        return await submit(request)

    monkeypatch.setattr(engine, "submit", noted)
    gone(server)
    yield found


@pytest.mark.defends(
    "a client leaves",
    "what is being rendered, tokenized or checked for it never reaches the engine",
    without=(
        "dovetail.server.life",
        "elif self._replies is None and self._task is not None:",
        "elif False:",
    ),
)
@pytest.mark.parametrize("what", DOING)
def test_what_was_begun_for_a_client_that_left_is_given_up(
    server: Running, submitted: list[Any], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    owner, method, path, body = DOING[what]
    held = Held(monkeypatch, owner, method)
    connection = send(server, path, json.dumps(body).encode())
    until(f"the request has come to {method}", held.entered.is_set)
    connection.close()
    gone(server)
    held.go.set()
    idle(server)
    assert not submitted
    monkeypatch.undo()
    assert server.post(path, body)[0] == 200


@pytest.mark.defends(
    "a client leaves",
    "a body that is not complete is forgotten",
    without=(
        "dovetail.server.limits",
        '    except ClientDisconnect:\n        raise RequestError("the client left before its body was complete") from None\n',
        '    except ClientDisconnect:\n        parts = [b\'{"prompt": "x"}\']\n',
    ),
)
def test_a_body_that_never_ends_is_forgotten_with_its_client(
    server: Running, submitted: list[Any]
) -> None:
    connection = send(server, "/v1/completions", b'{"prompt": "x"', length=1000)
    until("the request has begun", lambda: server._web.server_state.tasks)
    connection.close()
    gone(server)
    idle(server)
    assert not submitted
