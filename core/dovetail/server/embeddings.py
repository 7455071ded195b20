"""POST /v1/embeddings, in OpenAI's form, with vLLM's and sentence-transformers' additions."""

from __future__ import annotations

import base64
from typing import Any, Literal

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.text.sentences import Input, SentenceModel

from .endpoint import Endpoint
from .limits import check_count, read_json
from .pooling import F32, MAX_INPUTS, embed, sentences
from .served import Served
from .sse import encode

MAX_PROMPT = 8192
MAX_PRIORITY = 2**31 - 1


class EmbeddingsRequest(msgspec.Struct, kw_only=True):
    """POST /v1/embeddings.

    input                   a text, texts, token ids, or lists of token ids
    dimensions              length to cut vectors to, for models that allow it
    truncate_prompt_tokens  tokens to keep of each input; -1 for what the model takes
    prompt                  text to put before each input; prompt_name and input_type name one of the model's own
    normalize               whether vectors get length 1; as the model says if absent
    """

    input: str | list[str | int | list[int]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None
    truncate_prompt_tokens: int | None = None
    prompt: str | None = None
    prompt_name: str | None = None
    input_type: str | None = None
    add_special_tokens: bool = True
    normalize: bool | None = None
    priority: int = 0
    messages: Any = None


class Embedding(msgspec.Struct, kw_only=True):
    """One input's vector: numbers, or little-endian float32 in base64."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingsUsage(msgspec.Struct):
    """Tokens of all inputs."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(msgspec.Struct, kw_only=True):
    """Vectors in the order of the inputs."""

    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
    object: Literal["list"] = "list"


decoder = msgspec.json.Decoder(EmbeddingsRequest)


async def embeddings(request: Request) -> Response:
    """The vector of each input."""
    served: Served = request.app.state.served
    asked = await read_json(request, decoder, max_bytes=served.max_body_bytes)
    name = served.name(asked.model)
    model = sentences(served)
    if asked.messages is not None:
        raise UnsupportedParameter("messages is not supported here; send input", param="messages")
    if not -MAX_PRIORITY <= asked.priority <= MAX_PRIORITY:
        raise InvalidParameter(
            f"priority is {asked.priority}; it must be within {MAX_PRIORITY} of 0", param="priority"
        )
    embedded = await embed(
        served,
        inputs_of(asked.input),
        receive=request.receive,
        size=request.state.size,
        prompt=prompt_of(asked, model),
        truncate=asked.truncate_prompt_tokens,
        special=asked.add_special_tokens,
        priority=asked.priority,
        dimensions=asked.dimensions,
        normalize=asked.normalize,
    )
    answer = EmbeddingsAnswer(
        data=[
            Embedding(index=index, embedding=written(vector, asked.encoding_format))
            for index, vector in enumerate(embedded.vectors)
        ],
        model=name,
        usage=EmbeddingsUsage(embedded.tokens, embedded.tokens),
    )
    return Response(encode(answer), media_type="application/json")


def inputs_of(given: str | list[str | int | list[int]]) -> list[Input]:
    """The inputs, of whichever of the four forms. Raises InvalidParameter."""
    if isinstance(given, str):
        return [given]
    if not given:
        raise InvalidParameter("input is an empty list", param="input")
    if all(type(item) is int for item in given):
        return [[item for item in given if isinstance(item, int)]]
    check_count("input", given, MAX_INPUTS)
    kind = type(given[0])
    if kind is int or any(type(item) is not kind for item in given):
        raise InvalidParameter(
            "input mixes texts and token ids; send one text, texts, token ids or lists of token ids",
            param="input",
        )
    return [item for item in given if not isinstance(item, int)]


def prompt_of(asked: EmbeddingsRequest, model: SentenceModel) -> str:
    """The text to put before each input."""
    named = [
        name for name in ("prompt", "prompt_name", "input_type") if getattr(asked, name) is not None
    ]
    if len(named) > 1:
        raise InvalidParameter(f"give one of {', '.join(named)}, not more", param=named[0])
    if asked.prompt is not None:
        if len(asked.prompt) > MAX_PROMPT:
            raise InvalidParameter(
                f"prompt has {len(asked.prompt)} characters; at most {MAX_PROMPT} are allowed",
                param="prompt",
            )
        return asked.prompt
    if asked.prompt_name is not None:
        return model.prompt_named(asked.prompt_name)
    if asked.input_type is not None:
        return model.prompt_named(asked.input_type, param="input_type")
    tokens = not isinstance(asked.input, str) and not any(isinstance(i, str) for i in asked.input)
    return "" if tokens else model.prompt_named(None)


def written(vector: F32, form: str) -> list[float] | str:
    """A vector as JSON takes it."""
    if form == "base64":
        return base64.b64encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/embeddings",
        handle=embeddings,
        summary="Vectors of texts",
        body=EmbeddingsRequest,
        answer=EmbeddingsAnswer,
        tasks=("embed",),
    ),
)
