"""OpenAI's published schema: the data types of its client package, checked strictly."""

from __future__ import annotations

from typing import Any

import pydantic
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

EVENT: Any = pydantic.TypeAdapter(ResponseStreamEvent)
KINDS: dict[str, Any] = {
    "chat.completion": ChatCompletion,
    "chat.completion.chunk": ChatCompletionChunk,
    "text_completion": Completion,
    "response": Response,
    "model": Model,
}
OURS = {  # vLLM's additions, and what OpenAI has and its client's types do not
    "prompt_logprobs",
    "prompt_token_ids",
    "token_ids",
    "reasoning_content",
    "max_model_len",
    "root",
    "parent",
    "frequency_penalty",
    "store",
    "bytes",
    "presence_penalty",
}


def check(data: Any, kind: Any = None) -> None:
    """Raise unless data has every required field, each of its type, and none that OpenAI does not know."""
    kind = kind or KINDS[data["object"]]
    if (
        kind is Completion
    ):  # its type is that of the last chunk: null before it, as OpenAI's server says too
        finished = [{**c, "finish_reason": c["finish_reason"] or "stop"} for c in data["choices"]]
        data = {**data, "choices": finished}
    adapter = kind if isinstance(kind, pydantic.TypeAdapter) else pydantic.TypeAdapter(kind)
    made = adapter.validate_python(data, strict=True)
    _check_known(made, type(made).__name__)


def _check_known(value: Any, place: str) -> None:
    if isinstance(value, list):
        for item in value:
            _check_known(item, f"{place}[]")
    if not isinstance(value, pydantic.BaseModel):
        return
    extra = set(value.model_extra or ()) - OURS
    assert not extra, f"{place} has {extra}"
    for name in type(value).model_fields:
        _check_known(getattr(value, name), f"{place}.{name}")
