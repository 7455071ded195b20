"""The other routes, the gate in front of all, and what happens when a client leaves."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import openai
import pytest

from tests.waiting import until

POSTS = ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"]
GETS = ["/v1/models", "/v1/models/tiny", "/ready", "/version", "/metrics", "/nothing"]


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "alias"]
    model = client.models.retrieve("alias")
    assert model.object == "model" and model.max_model_len == 4096  # type: ignore[attr-defined]


def test_tokenize_and_back(server: Any) -> None:
    text = "Größe 你好 <|im_end|>"
    status, answer = server.post("/tokenize", {"prompt": text, "return_token_strs": True})
    assert status == 200 and answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    assert answer["max_model_len"] == 4096
    status, answer = server.post("/detokenize", {"tokens": answer["tokens"]})
    assert status == 200 and answer == {"prompt": text}


def test_tokenize_renders_messages(server: Any) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    _, answer = server.post("/tokenize", body)
    _, shown = server.post("/detokenize", {"tokens": answer["tokens"]})
    assert shown["prompt"] == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("tokens", [[-1], [512], ["x"], [True], "x", None])
def test_detokenize_refuses_what_is_no_token(server: Any, tokens: Any) -> None:
    status, answer = server.post("/detokenize", {"tokens": tokens})
    assert status == 400 and answer["error"]["param"].startswith("tokens")


def test_health_ready_and_version(server: Any) -> None:
    for path in ("/health", "/ready", "/version"):
        assert server.raw("GET", path)[0] == 200


def test_metrics_count_what_was_done(server: Any) -> None:
    before = server.metric("generation_tokens_total")
    ended = server.metric("request_success_total", finished_reason="length")
    first = server.metric("time_to_first_token_seconds_count")
    between = server.metric("inter_token_latency_seconds_count")
    server.post("/v1/completions", {"prompt": "x", "max_tokens": 5, "ignore_eos": True})
    assert server.metric("generation_tokens_total") == before + 5
    assert server.metric("request_success_total", finished_reason="length") == ended + 1
    assert server.metric("time_to_first_token_seconds_count") == first + 1
    assert server.metric("inter_token_latency_seconds_count") == between + 4
    assert server.metric("num_requests_running") == 0
    assert server.metric("engine_steps_total") > 0
    assert 0 <= server.metric("kv_cache_usage_perc") <= 1


def test_metrics_are_the_sums_of_usage(server: Any) -> None:
    names = ("prompt_tokens_total", "cached_prompt_tokens_total", "generation_tokens_total")
    before = [server.metric(name) for name in names]
    body = {"prompt": ["x y z", "one two"], "max_tokens": 40, "ignore_eos": True, "seed": 1}
    first = server.post("/v1/completions", body)[1]
    text = first["choices"][0]["text"]
    bodies = [{**body, "n": 3}, {**body, "n": 2, "stop": text[5:7]}]
    usages = [server.post("/v1/completions", each)[1]["usage"] for each in bodies]
    usages.append(first["usage"])
    sums = [
        sum(usage["prompt_tokens"] for usage in usages),
        sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages),
        sum(usage["completion_tokens"] for usage in usages),
    ]
    assert [server.metric(name) for name in names] == [
        value + added for value, added in zip(before, sums, strict=True)
    ]
    assert server.metric("engine_generation_tokens_total") >= server.metric(names[2])


@pytest.mark.defends(
    "access without a key",
    "where there are keys every route needs one, but for /health",
    without=(
        "dovetail.server.gate",
        "if not self._access.keys:",
        'if not self._access.keys or path == "/metrics":',
    ),
)
@pytest.mark.parametrize("key", [None, "", "wrong", "secret-kex", "sécret", "x" * 10_000])
def test_every_route_but_health_needs_a_key(locked: Any, key: str | None) -> None:
    headers = {"content-type": "application/json"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    for method, path in [*(("POST", p) for p in POSTS), *(("GET", p) for p in GETS)]:
        status, found, data = locked.raw(method, path, b"{}", headers)
        assert status == 401, path
        assert json.loads(data)["error"]["code"] == "invalid_api_key"
        assert found["www-authenticate"] == "Bearer"
    assert locked.raw("GET", "/health")[0] == 200


def test_any_of_the_keys_opens(locked: Any) -> None:
    for key in ("other-key", "secret-key"):
        with locked.client(api_key=key) as client:
            assert len(list(client.models.list())) == 2
    assert locked.raw("GET", "/v1/models", headers={"authorization": "Basic c2VjcmV0"})[0] == 401


def test_request_ids(server: Any) -> None:
    _, headers, _ = server.raw("GET", "/health")
    _, again, _ = server.raw("GET", "/health")
    assert headers["x-request-id"] != again["x-request-id"]
    assert (
        server.raw("GET", "/health", headers={"x-request-id": "mine-1"})[1]["x-request-id"]
        == "mine-1"
    )
    long = server.raw("GET", "/nothing", headers={"x-request-id": "x" * 500})
    assert len(long[1]["x-request-id"]) < 100


@pytest.mark.defends(
    "a signal to stop",
    "new requests are answered 503 with a time to come back, and /ready says so",
    without=(
        "dovetail.server.gate",
        'if self.draining and scope["method"] == "POST":',
        "if False:",
    ),
)
def test_a_draining_server_takes_no_new_requests(server: Any) -> None:
    server.gate.draining = True
    try:
        status, headers, data = server.raw("POST", "/v1/completions", b"{}")
        assert status == 503 and int(headers["retry-after"]) >= 1
        assert json.loads(data)["error"]["code"] == "service_unavailable"
        assert server.raw("GET", "/ready")[0] == 503
        assert server.raw("GET", "/health")[0] == 200
    finally:
        server.gate.draining = False


def begin(server: Any, **fields: Any) -> socket.socket:
    """A request on a connection of its own."""
    body = {"prompt": "x", "max_tokens": 900_000, "ignore_eos": True, **fields}
    data = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return connection


@pytest.mark.defends(
    "a client leaves",
    "its request ends within a step, streamed or not, and its blocks are free",
    without=(
        "dovetail.server.life",
        "            self._replies.leave()\n        elif",
        "            pass\n        elif",
    ),
)
@pytest.mark.parametrize("fields", [{"stream": True}, {"stream": True, "n": 3}, {}, {"n": 2}])
def test_a_client_that_leaves_frees_its_request(long: Any, fields: dict[str, Any]) -> None:
    ended = long.metric("request_success_total", finished_reason="cancelled")
    before = long.metric("generation_tokens_total")
    connection = begin(long, **fields)
    if fields.get("stream"):
        assert b"200 OK" in connection.recv(100)
    until("there are tokens", lambda: long.metric("generation_tokens_total") > before)
    connection.close()
    until("its request has ended", lambda: long.metric("num_requests_running") == 0)
    assert long.metric("generation_tokens_total") - before < 900_000
    assert long.metric("kv_cache_usage_perc") == 0
    until(
        "it counts as cancelled",
        lambda: long.metric("request_success_total", finished_reason="cancelled") > ended,
    )


def test_a_stop_string_frees_its_request(long: Any) -> None:
    body = {"prompt": "x", "max_tokens": 900_000, "ignore_eos": True, "seed": 1}
    text = long.post("/v1/completions", {**body, "max_tokens": 50})[1]["choices"][0]["text"]
    status, answer = long.post("/v1/completions", {**body, "stop": text[20:23]})
    assert status == 200 and answer["choices"][0]["finish_reason"] == "stop"
    until("its request has ended", lambda: long.metric("num_requests_running") == 0)


def test_a_model_without_a_template_cannot_chat(long: Any) -> None:
    body = {"messages": [{"role": "user", "content": "x"}]}
    status, answer = long.post("/v1/chat/completions", body)
    assert status == 400 and "/v1/completions" in answer["error"]["message"]


def test_other_requests_go_on_beside_a_long_one(long: Any) -> None:
    connection = begin(long, stream=True)
    try:
        status, answer = long.post("/v1/completions", {"prompt": "y", "max_tokens": 3})
        assert status == 200 and answer["usage"]["completion_tokens"] <= 3
    finally:
        connection.close()


def test_many_at_once_get_what_they_get_alone(server: Any) -> None:
    async def one(client: openai.AsyncOpenAI, i: int) -> str:
        stream = await client.completions.create(
            model="tiny", prompt=f"number {i}", max_tokens=40, temperature=1.0, seed=i, stream=True
        )
        return "".join([chunk.choices[0].text async for chunk in stream])

    async def run() -> tuple[list[str], list[str]]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x") as client:
            together = await asyncio.gather(*[one(client, i) for i in range(24)])
            return together, [await one(client, i) for i in range(24)]

    together, alone = asyncio.run(run())
    assert together == alone


def test_tokens_count_from_when_a_request_is_let_in_until_it_ends(narrow: Any) -> None:
    held = [begin(narrow, stream=True), begin(narrow, max_tokens=1000)]
    try:
        until("one runs and one waits", lambda: narrow.unfinished() == 2)
        assert narrow.metric("num_requests_waiting") == 1
        assert narrow.metric("num_queue_tokens") == 1 + 900_000 + 1 + 1000
    finally:
        for connection in held:
            connection.close()
    until("no request is left", lambda: narrow.unfinished() == 0)
    assert narrow.metric("num_queue_tokens") == 0


@pytest.mark.defends(
    "overload",
    "the queue is bounded in requests: who finds it full is answered 429 with a time to come back",
    without=("dovetail.engine.queueing", "if self._open >= self._places:", "if False:"),
)
def test_a_full_queue_is_told_with_a_time_to_come_back(narrow: Any) -> None:
    held = [begin(narrow, stream=True), begin(narrow, stream=True)]
    try:
        assert b"200 OK" in held[0].recv(100)
        until("the other one waits", lambda: narrow.metric("num_requests_waiting") >= 1)
        for fields in ({}, {"stream": True}, {"n": 4}):
            body = json.dumps({"prompt": "x", **fields}).encode()
            named = {"content-type": "application/json"}
            status, headers, data = narrow.raw("POST", "/v1/completions", body, named)
            assert status == 429 and int(headers["retry-after"]) >= 1
            assert json.loads(data)["error"]["type"] == "rate_limit_error"
        # nothing of the body was read for it
        assert narrow.raw("POST", "/v1/completions", b"{", named)[0] == 429
        assert narrow.raw("GET", "/health")[0] == 200
    finally:
        for connection in held:
            connection.close()
    until("no request is left", lambda: narrow.unfinished() == 0)
    assert narrow.post("/v1/completions", {"prompt": "x", "max_tokens": 2})[0] == 200
