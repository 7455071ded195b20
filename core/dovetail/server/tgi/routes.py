"""POST /generate, /generate_stream and /, and GET /info."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail import __version__
from dovetail.sampling import MAX_STOP
from dovetail.server import forms
from dovetail.server.endpoint import Endpoint
from dovetail.server.generation import Generation
from dovetail.server.limits import read_json
from dovetail.server.served import Served, fresh_id, off_loop
from dovetail.server.sse import Framing, begin, encode

from .answer import Answer
from .asking import MAX_BEST_OF, check, prompt_of, sampling_of
from .objects import Event, Generated, Info
from .schema import GenerateRequest, Parameters

decoder = msgspec.json.Decoder(GenerateRequest)
WORDS = {
    "max_tokens": "max_new_tokens",
    "prompt": "inputs",
    "logprobs": "top_n_tokens",
    "n": "best_of",
}
FRAMING = Framing(lambda error: b"data:" + encode(forms.tgi_fields(error)) + b"\n\n")


async def generate(request: Request) -> Response:
    """Complete a text."""
    return await _answer(request, await _read(request), stream=False)


async def generate_stream(request: Request) -> Response:
    """Complete a text, one event per token."""
    return await _answer(request, await _read(request), stream=True)


async def either(request: Request) -> Response:
    """Both, as the request's `stream` says; whole replies are in a list."""
    asked = await _read(request)
    return await _answer(request, asked, stream=bool(asked.stream), listed=True)


async def _read(request: Request) -> GenerateRequest:
    served: Served = request.app.state.served
    return await read_json(request, decoder, max_bytes=served.max_body_bytes)


async def _answer(
    request: Request, asked: GenerateRequest, *, stream: bool, listed: bool = False
) -> Response:
    served: Served = request.app.state.served
    given = asked.parameters or Parameters()
    check(given, stream=stream)
    scored = stream or bool(given.details) or given.best_of not in (None, 1)
    params = sampling_of(given, served.text, scored=scored)
    ids = await off_loop(request.state.size, lambda: prompt_of(asked, given, served.text))
    generation = await Generation.start(
        served,
        [ids],
        params,
        request_id=fresh_id("tgi"),
        clip=given.max_new_tokens is None,
        continues=True,
    )
    generation.watch(request.receive)
    answer = Answer(asked, given, served.text)
    if stream:
        return await begin(generation, answer.stream(generation), FRAMING)
    return await answer.whole(generation, listed=listed)


async def info(request: Request) -> Response:
    """The model and the server's limits."""
    served: Served = request.app.state.served
    engine = served.engine.info
    fields = {
        "model_id": served.names[0],
        "model_sha": None,
        "model_dtype": engine.dtype,
        "model_device_type": engine.device,
        "model_pipeline_tag": "text-generation",
        "max_concurrent_requests": engine.max_num_seqs,
        "max_best_of": MAX_BEST_OF,
        "max_stop_sequences": MAX_STOP,
        "max_input_tokens": engine.max_model_len - 1,
        "max_total_tokens": engine.max_model_len,
        "max_batch_total_tokens": engine.num_blocks * engine.block_size,
        "max_client_batch_size": 1,
        "router": "dovetail",
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
    return Response(encode(fields), media_type="application/json")


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/generate",
        handle=generate,
        summary="Complete a text, as TGI does",
        body=GenerateRequest,
        answer=Generated,
        errors=forms.tgi,
        words=WORDS,
    ),
    Endpoint(
        method="POST",
        path="/generate_stream",
        handle=generate_stream,
        summary="Complete a text, one event per token",
        body=GenerateRequest,
        streamed=Event,
        errors=forms.tgi,
        words=WORDS,
    ),
    Endpoint(
        method="POST",
        path="/",
        handle=either,
        summary="Complete a text, streamed or not",
        body=GenerateRequest,
        answer=list[Generated],
        streamed=Event,
        errors=forms.tgi,
        words=WORDS,
    ),
    Endpoint(
        method="GET",
        path="/info",
        handle=info,
        summary="The model and the server's limits, as TGI tells them",
        answer=Info,
        errors=forms.tgi,
        words=WORDS,
    ),
)
