"""Answers in llama-server's form, for the description of the API and its tests; they are not written from these types."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType


class Timings(msgspec.Struct, kw_only=True):
    """What reading the prompt and writing the reply took."""

    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float


class Completion(msgspec.Struct, kw_only=True):
    """A whole reply; as the last event of a stream, how it ended."""

    index: int
    content: str
    tokens: list[int]
    stop: Literal[True]
    model: str
    tokens_predicted: int
    tokens_evaluated: int
    tokens_cached: int
    truncated: bool
    stop_type: Literal["eos", "limit", "word"]
    stopping_word: str
    timings: Timings


class Event(msgspec.Struct, kw_only=True):
    """A piece of a reply; the fields after `tokens_evaluated` are those of the last, which stops."""

    index: int
    content: str
    tokens: list[int]
    stop: bool
    tokens_predicted: int
    tokens_evaluated: int
    model: str | UnsetType = UNSET
    tokens_cached: int | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET
    stop_type: Literal["eos", "limit", "word"] | UnsetType = UNSET
    stopping_word: str | UnsetType = UNSET
    timings: Timings | UnsetType = UNSET


class Applied(msgspec.Struct):
    """The prompt that a chat becomes."""

    prompt: str


class Settings(msgspec.Struct):
    """What holds where a request says nothing."""

    n_ctx: int
    params: dict[str, Any]


class Capabilities(msgspec.Struct):
    """Of the chat template."""

    supports_tools: bool


class Modalities(msgspec.Struct):
    """What the model takes besides text."""

    vision: bool
    audio: bool


class Props(msgspec.Struct, kw_only=True):
    """What the server and its model are."""

    default_generation_settings: Settings
    total_slots: int
    model_alias: str
    model_path: str
    chat_template: str
    chat_template_caps: Capabilities
    modalities: Modalities
    bos_token: str
    eos_token: str
    build_info: str


class FailureFields(msgspec.Struct):
    """What went wrong."""

    code: int
    message: str
    type: str


class Failure(msgspec.Struct):
    """The body of every answer from 400 on."""

    error: FailureFields
