"""The description of the API: it is complete, true, and nothing made from it breaks the server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from dovetail.server.app import ENDPOINTS
from dovetail.server.openapi import describe
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import response_schema_conformance

from . import published
from .conftest import Running, make_checkpoint

JSON = {"content-type": "application/json"}
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "Hello"}]
TYPES = {(e.method, e.path): e for e in ENDPOINTS}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose context is so short that every answer is."""
    directory = tmp_path_factory.mktemp("models") / "small"
    running = Running(make_checkpoint(directory, context=96))
    yield running
    running.stop()


API = schemathesis.openapi.from_dict(describe(ENDPOINTS))
OPERATIONS = {operation.label: operation for operation in map(Ok.ok, API.get_all_operations())}


@pytest.mark.parametrize("label", OPERATIONS)
def test_nothing_made_from_the_description_breaks_the_server(small: Running, label: str) -> None:
    operation = OPERATIONS[label]

    @settings(
        max_examples=12,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def run(case: Any) -> None:
        answer = case.call(base_url=small.url)
        assert answer.status_code < 500, answer.text
        case.validate_response(answer, checks=[response_schema_conformance])

    run()
    assert small.raw("GET", "/health")[0] == 200


def test_every_endpoint_is_described(server: Any) -> None:
    paths = json.loads(server.raw("GET", "/openapi.json")[2])["paths"]
    described = {(m.upper(), path) for path, methods in paths.items() for m in methods}
    assert described == {(e.method, e.path.replace(":path", "")) for e in ENDPOINTS}
    text = json.dumps(describe(ENDPOINTS))
    names = set(describe(ENDPOINTS)["components"]["schemas"])
    assert {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]} == names


EXTRAS: dict[str, Any] = {"max_tokens": 6, "seed": 1}
BODIES: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": MESSAGES}),
    (CHAT, {"messages": MESSAGES, "logprobs": True, "top_logprobs": 2, "n": 2}),
    (CHAT, {"messages": MESSAGES, "stream": True}),
    (CHAT, {"messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}),
    (CHAT, {"messages": MESSAGES, "stream": True, "logprobs": True, "n": 2}),
    (COMPLETIONS, {"prompt": ["a", "b"], "logprobs": 2, "n": 2}),
    (CHAT, {"messages": MESSAGES, "return_token_ids": True, "prompt_logprobs": 1}),
    (COMPLETIONS, {"prompt": "a", "return_token_ids": True, "stream": True}),
    (COMPLETIONS, {"prompt": "a", "stream": True, "stream_options": {"include_usage": True}}),
    ("/tokenize", {"prompt": "a b", "return_token_strs": True}),
    ("/detokenize", {"tokens": [70, 71]}),
]


TALK = {"model": "tiny", "messages": MESSAGES, "max_tokens": 6}
SHORT = {"model": "tiny", "options": {"num_predict": 4}}
KSERVE = "/v2/models/tiny"
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/messages", TALK),
    ("/v1/messages", {**TALK, "stream": True}),
    ("/v1/messages/count_tokens", {"model": "tiny", "messages": MESSAGES}),
    ("/api/chat", {**SHORT, "messages": MESSAGES}),
    ("/api/chat", {**SHORT, "messages": MESSAGES, "stream": False, "logprobs": True}),
    ("/api/chat", {"model": "tiny", "stream": False}),
    ("/api/generate", {**SHORT, "prompt": "Hello"}),
    ("/api/generate", {**SHORT, "prompt": "Hello", "stream": False, "top_logprobs": 2}),
    ("/api/show", {"model": "tiny"}),
    ("/generate", {"inputs": "a"}),
    ("/generate", {"inputs": "a", "parameters": {"details": True, "top_n_tokens": 2}}),
    (
        "/generate",
        {"inputs": "a", "parameters": {"details": True, "best_of": 2, "do_sample": True}},
    ),
    ("/generate_stream", {"inputs": "a", "parameters": {"top_n_tokens": 2}}),
    ("/", {"inputs": "a"}),
    (f"{KSERVE}/generate", {"text_input": "a", "id": "b"}),
    (f"{KSERVE}/generate_stream", {"text_input": "a"}),
    ("/completion", {"prompt": "a", "n_predict": 4, "return_tokens": True}),
    ("/completion", {"prompt": "a", "n_predict": 4, "stream": True}),
    ("/apply-template", {"messages": MESSAGES}),
]
SHOWN = ("/api/tags", "/api/ps", "/api/version", "/info", "/props", "/health", "/ready")
SHOWN_BELOW = ("/version", "/v2", "/v2/health/live", "/v2/health/ready", KSERVE, f"{KSERVE}/ready")


def declared(method: str, path: str) -> Any:
    """The endpoint that a path leads to."""
    return TYPES[method, path.replace(KSERVE, "/v2/models/{model:path}")]


@pytest.mark.parametrize(("path", "body"), OTHERS)
def test_other_dialects_answer_what_they_declare(
    server: Any, path: str, body: dict[str, Any]
) -> None:
    status, headers, answer = server.raw("POST", path, json.dumps(body).encode(), JSON)
    assert status == 200, answer
    endpoint = declared("POST", path)
    kind, parts = endpoint.answer, [answer]
    if not headers["content-type"].startswith("application/json"):
        assert headers["content-type"].partition(";")[0] == endpoint.events
        kind = endpoint.streamed
        parts = [line.removeprefix(b"data:") for line in answer.splitlines() if b"{" in line]
        assert parts  # how many there are depends on how far the reader lags behind
    for part in parts:
        made = msgspec.json.decode(part, type=kind)
        assert msgspec.to_builtins(made) == msgspec.json.decode(part)  # no field more


@pytest.mark.parametrize("path", SHOWN + SHOWN_BELOW)
def test_what_is_shown_is_what_is_declared(server: Any, path: str) -> None:
    answer = server.raw("GET", path)[2]
    made = msgspec.json.decode(answer, type=declared("GET", path).answer)
    assert msgspec.to_builtins(made) == msgspec.json.decode(answer)


def test_every_answer_has_a_type() -> None:
    texts = {"/", "/metrics"}
    untyped = {e.path for e in ENDPOINTS if e.answer is None and e.streamed is None}
    assert untyped == texts


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_answers_are_what_is_declared_and_what_openai_published(
    server: Any, path: str, body: dict[str, Any]
) -> None:
    endpoint = TYPES["POST", path]
    data = json.dumps({**EXTRAS, **body}).encode()
    status, _, answer = server.raw("POST", path, data, JSON)
    assert status == 200
    kind, parts = endpoint.answer, [answer]
    if body.get("stream"):
        events = answer.split(b"\n\n")
        assert events[-2:] == [b"data: [DONE]", b""]
        kind, parts = endpoint.streamed, [e.removeprefix(b"data: ") for e in events[:-2]]
    for part in parts:
        made = msgspec.json.decode(part, type=kind)
        assert msgspec.to_builtins(made) == msgspec.json.decode(part)  # no field more
        if path.startswith("/v1"):
            published.check(msgspec.json.decode(part))


def test_models_are_what_is_declared(server: Any) -> None:
    for path, kind in (
        ("/v1/models", "/v1/models"),
        ("/v1/models/tiny", "/v1/models/{model:path}"),
    ):
        answer = server.raw("GET", path)[2]
        made = msgspec.json.decode(answer, type=TYPES["GET", kind].answer)
        assert msgspec.to_builtins(made) == msgspec.json.decode(answer)


def test_the_description_says_how_errors_look(server: Any) -> None:
    document = describe(ENDPOINTS)
    operation = document["paths"][CHAT]["post"]
    name = operation["responses"]["default"]["content"]["application/json"]["schema"]["$ref"]
    assert name == "#/components/schemas/Error"
    answer = server.post(CHAT, {})[1]
    assert set(answer["error"]) == set(
        document["components"]["schemas"]["ErrorFields"]["properties"]
    )


def test_every_endpoint_has_a_command_in_the_documents() -> None:
    page = (Path(__file__).parents[2] / "docs/api.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("curl ")]
    for endpoint in ENDPOINTS:
        pattern = re.sub(r"\\\{.*?\\\}", r"[^/ ]+", re.escape(endpoint.path)) + "( |$)"
        mine = [line for line in lines if re.search("127.0.0.1:8000" + pattern, line)]
        found = [line for line in mine if _method(line) == endpoint.method]
        assert found, f"{endpoint.method} {endpoint.path}"


def _method(line: str) -> str:
    if named := re.search(r"-X (\w+)", line):
        return named[1]
    return "POST" if " -d " in line else "GET"
