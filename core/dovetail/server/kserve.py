"""KServe's Open Inference Protocol, version 2: health, metadata, and generation of text.

Source: kserve/open-inference-protocol, inference_rest.md and generate_rest.yaml. There are no tensors to infer with: what
is served takes text.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail import __version__
from dovetail.errors import EngineStopped, InvalidParameter, UnknownModel, UnsupportedParameter
from dovetail.sampling import check_int

from . import forms
from .endpoint import Endpoint
from .generation import Generation
from .kserve_objects import Generated, Live, Model, Piece, Ready, Server
from .limits import read_json
from .served import Served, fresh_id, off_loop
from .sse import Framing, begin, encode

VERSION = "1"  # of every model: none has another
DEFAULT_MAX_TOKENS = 20  # the protocol's
MAX_ID = 256
FRAMING = Framing(lambda error: b"data: " + encode(forms.plain_fields(error)) + b"\n\n")
TENSOR = {"datatype": "BYTES", "shape": [1]}


class Parameters(msgspec.Struct, kw_only=True, gc=False):
    """How to generate; the protocol's parameters, and those of OpenAI and vLLM where it has none."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    ignore_eos: bool | None = None
    best_of: int | None = None


class GenerateRequest(msgspec.Struct, kw_only=True, gc=False):
    """POST /v2/models/{model}/generate and generate_stream."""

    text_input: str
    id: str | None = None
    parameters: Parameters | None = None


decoder = msgspec.json.Decoder(GenerateRequest)


async def server(request: Request) -> Response:
    """Name, version and extensions of the server."""
    return _json({"name": "dovetail", "version": __version__, "extensions": ["generate"]})


async def live(request: Request) -> Response:
    """Whether the engine lives."""
    served: Served = request.app.state.served
    if not served.engine.healthy():
        raise EngineStopped("the engine is not running")
    return _json({"live": True})


async def ready(request: Request) -> Response:
    """Whether new requests are taken."""
    _check_ready(request)
    return _json({"ready": True})


async def model_ready(request: Request) -> Response:
    """The same, of a model."""
    _, name = _model(request)
    _check_ready(request)
    return _json({"name": name, "ready": True})


def _check_ready(request: Request) -> None:
    served: Served = request.app.state.served
    if request.app.state.gate.draining:
        raise EngineStopped("the server is stopping")
    if not served.engine.healthy():
        raise EngineStopped("the engine is not running")


async def model(request: Request) -> Response:
    """What a model takes and gives."""
    _, name = _model(request)
    return _json(
        {
            "name": name,
            "versions": [VERSION],
            "platform": "dovetail",
            "inputs": [{"name": "text_input", **TENSOR}],
            "outputs": [{"name": "text_output", **TENSOR}],
        }
    )


async def generate(request: Request) -> Response:
    """Complete a text."""
    generation, fields = await _start(request)
    try:
        if not await generation.collect():
            return Response(status_code=499)  # nobody reads it
    finally:
        generation.close()
    text = "".join(delta.text for delta in generation.choices[0].parts)
    return _json({**fields, "text_output": text})


async def generate_stream(request: Request) -> Response:
    """Complete a text, one event per piece; the last one is done."""
    generation, fields = await _start(request)

    async def events() -> AsyncIterator[bytes]:
        async for _, delta in generation.events():
            done = delta.finish is not None
            if delta.text or done:
                event = {**fields, "text_output": delta.text, "done": done}
                yield b"data: " + encode(event) + b"\n\n"

    return await begin(generation, events(), FRAMING)


async def _start(request: Request) -> tuple[Generation, dict[str, Any]]:
    """The generation that is asked for, and the fields of every answer."""
    served, name = _model(request)
    asked = await read_json(request, decoder, max_bytes=served.max_body_bytes)
    if asked.id is not None and len(asked.id) > MAX_ID:
        raise InvalidParameter(
            f"id has {len(asked.id)} characters; at most {MAX_ID} are allowed", param="id"
        )
    given = asked.parameters or Parameters()
    if given.best_of not in (None, 1):
        raise UnsupportedParameter("best_of is not supported; leave it out", param="best_of")
    if given.max_tokens is not None:
        check_int("max_tokens", given.max_tokens, 1, 2**31 - 1)
    params = served.text.sampling(**_sampling(given))
    text = asked.text_input
    ids = await off_loop(len(text), lambda: served.text.encode(text, param="text_input"))
    generation = await Generation.start(
        served,
        [ids],
        params,
        request_id=fresh_id("kserve"),
        clip=given.max_tokens is None,
        continues=True,
    )
    generation.watch(request.receive)
    given_id = {} if asked.id is None else {"id": asked.id}
    return generation, {**given_id, "model_name": name, "model_version": VERSION}


def _sampling(given: Parameters) -> dict[str, Any]:
    fields = msgspec.structs.asdict(given)
    fields.pop("best_of")
    stop = given.stop
    fields["stop"] = (stop,) if isinstance(stop, str) else tuple(stop or ())
    fields["max_tokens"] = given.max_tokens or DEFAULT_MAX_TOKENS
    return fields


def _model(request: Request) -> tuple[Served, str]:
    """What is served, and the model's name. Raises UnknownModel."""
    served: Served = request.app.state.served
    name = served.name(request.path_params["model"])
    version = request.path_params.get("version", VERSION)
    if version != VERSION:
        raise UnknownModel(
            f"{name} has no version {version[:100]!r}; it has version {VERSION} alone",
            param="version",
        )
    return served, name


def _json(fields: dict[str, Any]) -> Response:
    return Response(encode(fields), media_type="application/json")


def _endpoints(
    method: str,
    verb: str,
    handle: Callable[[Request], Awaitable[Response]],
    summary: str,
    body: Any = None,
    answer: Any = None,
    streamed: Any = None,
) -> tuple[Endpoint, ...]:
    """With and without a version."""
    return tuple(
        Endpoint(
            method=method,
            path=f"/v2/models/{{model:path}}{version}{verb}",
            handle=handle,
            summary=summary,
            body=body,
            answer=answer,
            streamed=streamed,
            errors=forms.plain,
            words={"prompt": "text_input"},
        )
        for version in ("/versions/{version}", "")
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v2",
        handle=server,
        summary="The server, as KServe's protocol tells it",
        answer=Server,
        errors=forms.plain,
    ),
    Endpoint(
        method="GET",
        path="/v2/health/live",
        handle=live,
        summary="Whether the engine lives",
        answer=Live,
        errors=forms.plain,
    ),
    Endpoint(
        method="GET",
        path="/v2/health/ready",
        handle=ready,
        summary="Whether new requests are taken",
        answer=Ready,
        errors=forms.plain,
    ),
    *_endpoints("POST", "/generate", generate, "Complete a text", GenerateRequest, Generated),
    *_endpoints(
        "POST",
        "/generate_stream",
        generate_stream,
        "Complete a text, one event per piece",
        GenerateRequest,
        streamed=Piece,
    ),
    *_endpoints("GET", "/ready", model_ready, "Whether a model takes requests", answer=Ready),
    *_endpoints("GET", "", model, "What a model takes and gives", answer=Model),
)
