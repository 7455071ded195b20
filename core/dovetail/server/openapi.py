"""GET /openapi.json: the description of the API, OpenAPI 3.1, made from what the endpoints declare."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail import __version__

from . import errors, forms
from .anthropic import objects as anthropic
from .endpoint import EVENTS, Endpoint
from .kserve_objects import Failure
from .llama import objects as llama
from .sse import encode
from .tgi import objects as tgi

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
REFERENCE = "#/components/schemas/{name}"
MODULES = b"dovetail.server."  # what types of equal names in several dialects are told apart by, but for this
JSON = "application/json"


class ErrorFields(msgspec.Struct):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(msgspec.Struct):
    """The body of every answer from 400 on, as OpenAI writes it."""

    error: ErrorFields


# how an error is answered -> the type of the answer
FAILURES: dict[errors.Answer, Any] = {
    errors.answer: Error,
    forms.anthropic: anthropic.Failure,
    forms.plain: Failure,
    forms.tgi: tgi.Failure,
    forms.llama: llama.Failure,
}


class Document(msgspec.Struct):
    """An OpenAPI document."""

    openapi: Literal["3.1.0"]
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The document."""
    types: list[Any] = list(FAILURES.values())
    for endpoint in endpoints:
        types += [kind for kind in (endpoint.body, endpoint.answer, endpoint.streamed) if kind]
    unique = list(dict.fromkeys(types))
    made, components = msgspec.json.schema_components(unique, ref_template=REFERENCE)
    schemas = dict(zip(unique, made, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Dovetail", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
    named: dict[str, Any] = msgspec.json.decode(encode(document).replace(MODULES, b""))
    return named


def _operation(endpoint: Endpoint, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    name = f"{endpoint.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', endpoint.path.lower())}"
    made: dict[str, Any] = {
        "operationId": name.strip("_"),
        "summary": endpoint.summary,
        "parameters": _parameters(endpoint),
        "security": [] if endpoint.open else [{"key": []}, {}],
        "responses": {"200": _answer(endpoint, schemas), "default": _error(endpoint, schemas)},
    }
    if endpoint.body is not None:
        content = {JSON: {"schema": schemas[endpoint.body]}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    below = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(endpoint.path)
    ]
    asked = [
        {"name": name, "in": "query", "schema": msgspec.json.schema(kind)}
        for name, kind in endpoint.query.items()
    ]
    return [*below, *asked]


def _answer(endpoint: Endpoint, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if endpoint.answer is not None:
        content[JSON] = {"schema": schemas[endpoint.answer]}
    if endpoint.streamed is not None:
        content[endpoint.events] = {"schema": _stream(endpoint, schemas[endpoint.streamed])}
    return {"description": endpoint.summary} | ({"content": content} if content else {})


def _stream(endpoint: Endpoint, each: dict[str, Any]) -> dict[str, Any]:
    """Of one event, whose data is JSON; or of text, whose lines are."""
    told = {"type": "string", "contentMediaType": JSON, "contentSchema": each}
    if endpoint.events != EVENTS:
        return told
    return {"type": "object", "properties": {"data": told}, "required": ["data"]}


def _error(endpoint: Endpoint, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    content = {JSON: {"schema": schemas[FAILURES[endpoint.errors]]}}
    return {"description": "What is wrong, and what to do about it", "content": content}


async def show_description(request: Request) -> Response:
    """The document, made once."""
    state = request.app.state
    if not hasattr(state, "description"):
        state.description = encode(describe(state.endpoints))
    return Response(state.description, media_type=JSON)


ENDPOINT = Endpoint(
    method="GET",
    path="/openapi.json",
    handle=show_description,
    summary="This description",
    answer=Document,
)
