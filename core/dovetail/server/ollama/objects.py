"""Answers in Ollama's form, for the description of the API and its tests; they are not written from these types.

What is `UNSET` may be left out. A streamed answer is one such object per line.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from dovetail.server.openai.objects import TopLogprob

Reason = Literal["stop", "length", "load"]


class TokenLogprob(TopLogprob):
    """A token that came; the likeliest at its place, if they were asked for."""

    top_logprobs: list[TopLogprob] | UnsetType = UNSET


class Called(msgspec.Struct):
    """A function, and its arguments."""

    index: int
    name: str
    arguments: dict[str, Any]


class ToolCall(msgspec.Struct):
    """A call."""

    id: str
    function: Called


class Message(msgspec.Struct, kw_only=True):
    """What is said."""

    role: Literal["assistant"]
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET


class Answer(msgspec.Struct, kw_only=True):
    """What both kinds of answer have; the last object tells why it is, and what it took in nanoseconds."""

    model: str
    created_at: str
    done: bool
    done_reason: Reason | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET
    logprobs: list[TokenLogprob] | UnsetType = UNSET


class ChatAnswer(Answer, kw_only=True):
    """Of /api/chat."""

    message: Message


class GenerateAnswer(Answer, kw_only=True):
    """Of /api/generate; context: ids of prompt and answer."""

    response: str
    thinking: str | UnsetType = UNSET
    context: list[int] | UnsetType = UNSET


class Embedded(msgspec.Struct, kw_only=True):
    """Vectors in the order of the texts."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class Embedding(msgspec.Struct):
    """The vector of a text; empty for none."""

    embedding: list[float]


class Details(msgspec.Struct, kw_only=True):
    """Of a model's files."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class Listed(msgspec.Struct, kw_only=True):
    """A model."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class Loaded(Listed, kw_only=True):
    """A model that is loaded."""

    expires_at: str
    size_vram: int
    context_length: int


class Tags(msgspec.Struct):
    """The models served here."""

    models: list[Listed]


class Running(msgspec.Struct):
    """Those that are loaded."""

    models: list[Loaded]


class Shown(msgspec.Struct, kw_only=True):
    """What is known of a model."""

    modelfile: str
    parameters: str
    template: str
    license: str
    details: Details
    model_info: dict[str, bool | int | float | str]
    capabilities: list[Literal["completion", "embedding", "tools", "thinking"]]
    modified_at: str


class Version(msgspec.Struct):
    """Of the API."""

    version: str
