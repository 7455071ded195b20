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
