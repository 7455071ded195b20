"""Requests as TGI's clients send them. Fields nobody knows are ignored; gc=False: what JSON makes has no cycles."""

from __future__ import annotations

from typing import Any

import msgspec


class Form(msgspec.Struct, gc=False):
    """json, json_schema or regex, and a schema or a pattern."""

    type: str
    value: Any


class Parameters(msgspec.Struct, kw_only=True, gc=False):
    """How to generate."""

    best_of: int | None = None
    decoder_input_details: bool | None = None
    details: bool | None = None
    do_sample: bool | None = None
    frequency_penalty: float | None = None
    grammar: Form | None = None
    max_new_tokens: int | None = None
    repetition_penalty: float | None = None
    return_full_text: bool | None = None
    seed: int | None = None
    stop: list[str] | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_n_tokens: int | None = None
    top_p: float | None = None
    truncate: int | None = None
    typical_p: float | None = None

    adapter_id: str | None = None
    watermark: bool | None = None


class GenerateRequest(msgspec.Struct, kw_only=True, gc=False):
    """POST /generate and /generate_stream; stream counts at / alone."""

    inputs: str
    parameters: Parameters | None = None
    stream: bool | None = None
