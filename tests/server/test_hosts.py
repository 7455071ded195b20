"""A server for this machine alone is not open to web pages in its browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dovetail.server.serve import ServerConfig, _hosts

from .conftest import Running


@pytest.fixture(scope="module")
def guarded(checkpoint: Path) -> Iterator[Running]:
    """A server as `dovetail serve` makes it without a key."""
    server = ServerConfig(allowed_host=("box.test",))
    running = Running(checkpoint, hosts=_hosts(server, "127.0.0.1"))
    yield running
    running.stop()


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:99", "127.0.0.1:8000", "[::1]:8000", "box.test", "localhost."]
)
def test_its_own_names_are_answered(guarded: Any, host: str) -> None:
    for origin in ({}, {"origin": f"http://{host}"}):
        assert guarded.raw("GET", "/v1/models", headers={"host": host, **origin})[0] == 200


@pytest.mark.defends(
    "pages of other sites",
    "a server without keys answers to its own names alone",
    without=("dovetail.server.gate", "if _host(host) not in self._hosts:", "if False:"),
)
@pytest.mark.parametrize(
    "host", ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "", "[::2]"]
)
def test_other_names_are_refused(guarded: Any, host: str) -> None:
    status, _, data = guarded.raw("GET", "/v1/models", headers={"host": host})
    assert status == 403 and "localhost" in json.loads(data)["error"]["message"]
    assert guarded.raw("GET", "/health", headers={"host": host})[0] == 200


@pytest.mark.defends(
    "pages of other sites",
    "a server without keys takes no request of a page from elsewhere",
    without=(
        "dovetail.server.gate",
        "origin is not None\n            and",
        "False\n            and",
    ),
)
@pytest.mark.parametrize(
    "origin", ["https://evil.test", "null", "http://localhost.evil.test:80", ""]
)
def test_pages_of_other_sites_are_refused(guarded: Any, origin: str) -> None:
    headers = {"host": "localhost", "origin": origin, "content-type": "application/json"}
    status, _, data = guarded.raw("POST", "/v1/completions", b"{}", headers)
    assert status == 403 and json.loads(data)["error"]["code"] == "forbidden"


def test_keys_and_other_addresses_take_any_name() -> None:
    assert _hosts(ServerConfig(api_key=("k",)), "127.0.0.1") == ()
    assert _hosts(ServerConfig(host="0.0.0.0"), "0.0.0.0") == ()
    assert "box" in _hosts(ServerConfig(host="box"), "127.0.1.1")
    assert "[::1]" in _hosts(ServerConfig(host="::1"), "::1")
