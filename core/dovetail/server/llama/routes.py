"""The endpoints of this dialect: those of llama-server that OpenAI's dialect has no word for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail import __version__
from dovetail.sampling import SamplingParams
from dovetail.server import forms
from dovetail.server.ask import Ask, template_variables
from dovetail.server.conversation import prompt_of
from dovetail.server.endpoint import Endpoint
from dovetail.server.generation import Generation
from dovetail.server.limits import read_json
from dovetail.server.openai.asking import check_conversation
from dovetail.server.openai.messages import plain_messages, plain_tools
from dovetail.server.served import Served, fresh_id, off_loop
from dovetail.server.sse import Framing, begin, encode

from .answer import Answer
from .asking import DEFAULTS, completion_of, infill_of
from .objects import Applied, Completion, Event, Props
from .schema import CompletionFields, CompletionRequest, InfillRequest, TemplateRequest

completion_decoder = msgspec.json.Decoder(CompletionRequest)
infill_decoder = msgspec.json.Decoder(InfillRequest)
template_decoder = msgspec.json.Decoder(TemplateRequest)
WORDS = {"max_tokens": "n_predict", "repetition_penalty": "repeat_penalty"}
FRAMING = Framing(lambda error: b"data: " + encode(forms.llama_fields(error)) + b"\n\n")


async def completion(request: Request) -> Response:
    """Complete a text."""
    served: Served = request.app.state.served
    asked = await read_json(request, completion_decoder, max_bytes=served.max_body_bytes)
    return await _answer(request, asked, lambda: completion_of(asked, served.text))


async def infill(request: Request) -> Response:
    """Fill in between a prefix and a suffix."""
    served: Served = request.app.state.served
    asked = await read_json(request, infill_decoder, max_bytes=served.max_body_bytes)
    return await _answer(request, asked, lambda: infill_of(asked, served.text))


async def _answer(
    request: Request,
    asked: CompletionFields,
    prompt: Callable[[], tuple[list[int], SamplingParams]],
) -> Response:
    served: Served = request.app.state.served
    ids, params = await off_loop(request.state.size, prompt)
    answer = Answer(served.names[0], tokens=bool(asked.return_tokens))
    generation = await Generation.start(
        served, [ids], params, request_id=fresh_id("llama"), clip=True, continues=True
    )
    generation.watch(request.receive)
    if asked.stream:
        return await begin(generation, answer.stream(generation), FRAMING)
    return await answer.whole(generation)


async def apply_template(request: Request) -> Response:
    """The prompt that a chat becomes, as text."""
    served: Served = request.app.state.served
    asked = await read_json(request, template_decoder, max_bytes=served.max_body_bytes)
    check_conversation(asked.messages, asked.tools)
    ask = Ask(
        messages=plain_messages(asked.messages),
        sampling=SamplingParams(max_tokens=0),
        tools=plain_tools(asked.tools),
        open_reply=asked.add_generation_prompt is not False,
        variables=template_variables(asked.chat_template_kwargs),
        size=request.state.size,
    )
    return _json({"prompt": (await prompt_of(served.text, ask)).text})


async def props(request: Request) -> Response:
    """What the server and its model are."""
    served: Served = request.app.state.served
    text, special = served.text, served.text.tokenizer.special
    template = text.template
    speech = text.speech
    return _json(
        {
            "default_generation_settings": {
                "n_ctx": text.max_model_len,
                "params": {**DEFAULTS, "n_predict": -1, "seed": -1},
            },
            "total_slots": served.engine.info.max_num_seqs,
            "model_alias": served.names[0],
            "model_path": text.name,
            "chat_template": template.source if template is not None else "",
            "chat_template_caps": {"supports_tools": speech is not None and speech.takes_tools},
            "modalities": {"vision": False, "audio": False},
            "bos_token": special.get("bos_token", ""),
            "eos_token": special.get("eos_token", ""),
            "build_info": f"dovetail {__version__}",
        }
    )


def _json(fields: dict[str, Any]) -> Response:
    return Response(encode(fields), media_type="application/json")


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/completion",
        handle=completion,
        summary="Complete a text, as llama-server does",
        body=CompletionRequest,
        answer=Completion,
        streamed=Event,
        errors=forms.llama,
        words=WORDS,
    ),
    Endpoint(
        method="POST",
        path="/infill",
        handle=infill,
        summary="Fill in between a prefix and a suffix",
        body=InfillRequest,
        answer=Completion,
        streamed=Event,
        errors=forms.llama,
        words=WORDS,
    ),
    Endpoint(
        method="POST",
        path="/apply-template",
        handle=apply_template,
        summary="The prompt that a chat becomes",
        body=TemplateRequest,
        answer=Applied,
        errors=forms.llama,
        words=WORDS,
    ),
    Endpoint(
        method="GET",
        path="/props",
        handle=props,
        summary="What the server and its model are",
        answer=Props,
        errors=forms.llama,
        words=WORDS,
    ),
)
