"""Answers in TGI's form, for the description of the API and its tests; they are not written from these types."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

Reason = Literal["length", "eos_token", "stop_sequence"]


class PrefillToken(msgspec.Struct):
    """A token of the prompt."""

    id: int
    text: str
    logprob: float | None


class Token(msgspec.Struct):
    """A token of the reply."""

    id: int
    text: str
    logprob: float
    special: bool


class BestOf(msgspec.Struct, kw_only=True):
    """A reply that was not chosen."""

    generated_text: str
    finish_reason: Reason
    generated_tokens: int
    seed: int | None
    prefill: list[PrefillToken]
    tokens: list[Token]
    top_tokens: list[list[Token]] | UnsetType = UNSET


class Details(msgspec.Struct, kw_only=True):
    """How a reply came about."""

    finish_reason: Reason
    generated_tokens: int
    seed: int | None
    prefill: list[PrefillToken]
    tokens: list[Token]
    top_tokens: list[list[Token]] | UnsetType = UNSET
    best_of_sequences: list[BestOf] | UnsetType = UNSET


class Generated(msgspec.Struct):
    """A whole reply."""

    generated_text: str
    details: Details | UnsetType = UNSET


class StreamDetails(msgspec.Struct, kw_only=True):
    """How a streamed reply ended."""

    finish_reason: Reason
    generated_tokens: int
    seed: int | None
    input_length: int


class Event(msgspec.Struct, kw_only=True):
    """A token; the last one has the whole text."""

    index: int
    token: Token
    top_tokens: list[Token] | UnsetType = UNSET
    generated_text: str | None
    details: StreamDetails | None


class Info(msgspec.Struct, kw_only=True):
    """The model and the server's limits."""

    model_id: str
    model_sha: None
    model_dtype: str
    model_device_type: str
    model_pipeline_tag: str
    max_concurrent_requests: int
    max_best_of: int
    max_stop_sequences: int
    max_input_tokens: int
    max_total_tokens: int
    max_batch_total_tokens: int
    max_client_batch_size: int
    router: str
    version: str
    sha: None
    docker_label: None


class Failure(msgspec.Struct):
    """The body of every answer from 400 on."""

    error: str
    error_type: str
