"""Requests that have a time: it covers all that happens to them, and what they hold is free when it is up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.waiting import Patience, until

from .conftest import Running
from .test_routes import begin

ENDLESS = {"prompt": "x", "max_tokens": 900_000, "ignore_eos": True}
SHORT_S = 0.05


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that gives every request hardly any time, and whose answers have no end."""
    from .conftest import CHATML, make_checkpoint

    template = CHATML
    model = make_checkpoint(
        tmp_path_factory.mktemp("models") / "limited", context=1_000_000, template=template
    )
    running = Running(model, request_timeout_s=SHORT_S)
    yield running
    running.stop()


def settle(server: Any) -> None:
    """Until the engine has nothing to do."""
    until("no request is left", lambda: server.unfinished() == 0)
    assert server.metric("kv_cache_usage_perc") == 0


@pytest.mark.defends(
    "overload",
    "a request has a time, its own or the server's, and holds nothing when it is up",
    without=(
        "dovetail.server.life",
        "self._expiry = self._loop.call_at(at, self._expire, replies)",
        "pass",
    ),
)
@pytest.mark.parametrize("fields", [{}, {"n": 3}])
def test_a_request_that_takes_too_long_is_answered_504(long: Any, fields: dict[str, Any]) -> None:
    body = json.dumps({**ENDLESS, **fields, "timeout": SHORT_S}).encode()
    named = {"content-type": "application/json"}
    status, headers, data = long.raw("POST", "/v1/completions", body, named)
    error = json.loads(data)["error"]
    assert status == 504 and error["code"] == "request_timeout" and "0.05 s" in error["message"]
    assert headers["x-should-retry"] == "false"
    settle(long)


def test_clients_do_not_ask_again_for_what_came_too_late(long: Any) -> None:
    before = long.metric("engine_prompt_tokens_total")
    with long.client(max_retries=3) as client, pytest.raises(openai.APIStatusError) as caught:
        client.completions.create(
            model="tiny",
            prompt="x",
            max_tokens=900_000,
            extra_body={"timeout": SHORT_S, "ignore_eos": True},
        )
    assert caught.value.status_code == 504
    settle(long)
    assert long.metric("engine_prompt_tokens_total") == before + 1


@pytest.mark.parametrize("fields", [{}, {"n": 2}])
def test_a_stream_that_takes_too_long_ends_with_an_error(long: Any, fields: dict[str, Any]) -> None:
    body = json.dumps({**ENDLESS, **fields, "stream": True, "timeout": 0.3}).encode()
    status, _, data = long.raw(
        "POST", "/v1/completions", body, {"content-type": "application/json"}
    )
    *_, last, done = [line[6:] for line in data.decode().splitlines() if line]
    assert status == 200 and done == "[DONE]"
    assert json.loads(last)["error"]["code"] == "request_timeout"
    settle(long)


@pytest.mark.defends(
    "overload",
    "a request has a time, its own or the server's, and holds nothing when it is up",
    without=(
        "dovetail.server.life",
        "self._expiry = self._loop.call_at(at, self._expire, replies)",
        "pass",
    ),
)
def test_time_in_the_queue_counts(narrow: Any) -> None:
    held = begin(narrow, stream=True)
    try:
        assert b"200 OK" in held.recv(100)
        assert narrow.post("/v1/completions", {**ENDLESS, "timeout": SHORT_S})[0] == 504
        until("nothing waits", lambda: narrow.metric("num_requests_waiting") == 0)
        assert narrow.metric("num_requests_running") == 1
    finally:
        held.close()
    settle(narrow)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("timeout", [0, -1, 1e9, True, "soon", [1]])
def test_a_time_that_is_none_is_refused(server: Any, path: str, timeout: Any) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "prompt": "x", "input": "x"}
    if path != "/v1/completions":
        del body["prompt"]
    status, answer = server.post(path, {**body, "timeout": timeout})
    assert status == 400 and answer["error"]["param"] == "timeout"


MESSAGES = [{"role": "user", "content": "x"}]
ASKED: dict[str, dict[str, Any]] = {
    "/v1/completions": {**ENDLESS, "timeout": 60},
    "/v1/chat/completions": {
        "messages": MESSAGES,
        "max_tokens": 900_000,
        "timeout": 60,
        "ignore_eos": True,
    },
    "/v1/responses": {"input": "x", "max_output_tokens": 900_000, "ignore_eos": True},
    "/v1/messages": {
        "model": "tiny",
        "messages": MESSAGES,
        "max_tokens": 900_000,
        "temperature": 0,
    },
    "/api/chat": {
        "model": "tiny",
        "messages": MESSAGES,
        "options": {"num_predict": 900_000, "temperature": 0},
    },
    "/generate": {"inputs": "x", "parameters": {"max_new_tokens": 900_000}},
    "/v2/models/tiny/generate": {
        "text_input": "x",
        "parameters": {"max_tokens": 900_000, "ignore_eos": True},
    },
    "/completion": {"prompt": "x", "n_predict": 900_000, "ignore_eos": True},
}


@pytest.mark.defends(
    "overload",
    "a request has a time, its own or the server's, and holds nothing when it is up",
    without=("dovetail.server.gate", "life = Life(self._timeout_s)", "life = Life()"),
)
@pytest.mark.parametrize("path", ASKED)
def test_the_server_s_limit_holds_in_every_dialect(limited: Any, path: str) -> None:
    status, answer = limited.post(path, {**ASKED[path], "stream": False})
    assert status == 504 and "0.05 s" in json.dumps(answer)
    settle(limited)


def test_what_goes_on_in_the_background_has_a_limit_too(limited: Any) -> None:
    body = {**ASKED["/v1/responses"], "background": True}
    status, answer = limited.post("/v1/responses", body)
    assert status == 200
    patience = Patience("the response has ended")
    while answer["status"] == "in_progress":
        patience.look()
        answer = json.loads(limited.raw("GET", f"/v1/responses/{answer['id']}")[2])
    assert answer["status"] == "failed" and "0.05 s" in answer["error"]["message"]
    settle(limited)
