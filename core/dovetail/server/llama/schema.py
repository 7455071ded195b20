"""Requests as llama-server's clients send them. Fields nobody knows are ignored; gc=False: what JSON makes has no cycles."""

from __future__ import annotations

from typing import Any

import msgspec

from dovetail.server.openai.schema import Message, Tool


class CompletionFields(msgspec.Struct, kw_only=True, gc=False):
    """How to complete, in llama.cpp's names."""

    stream: bool | None = None
    n_predict: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    top_n_sigma: float | None = None
    typical_p: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    dynatemp_range: float | None = None
    dynatemp_exponent: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: list[str] | None = None
    repeat_last_n: int | None = None
    samplers: list[str] | None = None
    seed: int | None = None
    stop: list[str] | None = None
    ignore_eos: bool | None = None
    logit_bias: list[list[Any]] | None = None
    return_tokens: bool | None = None

    n_probs: int | None = None
    n_indent: int | None = None
    n_keep: int | None = None
    t_max_predict_ms: int | None = None
    lora: list[Any] | None = None
    grammar: str | None = None
    json_schema: Any = None


class CompletionRequest(CompletionFields, kw_only=True, gc=False):
    """POST /completion: a text, or token ids."""

    prompt: str | list[int]


class ExtraFile(msgspec.Struct, gc=False):
    """A file to be read before."""

    text: str
    filename: str = ""


class InfillRequest(CompletionFields, kw_only=True, gc=False):
    """POST /infill. prompt: what has begun to be filled in."""

    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: list[ExtraFile] | None = None
    prompt: str = ""


class TemplateRequest(msgspec.Struct, kw_only=True, gc=False):
    """POST /apply-template."""

    messages: list[Message]
    tools: list[Tool] | None = None
    add_generation_prompt: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
