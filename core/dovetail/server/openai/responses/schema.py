"""Requests to /v1/responses. As in ../schema.py: every optional field may be null, unknown ones are ignored, and known
ones that are not supported are declared, so that they can be refused by name."""

from __future__ import annotations

from typing import Any

import msgspec

from dovetail.server.openai.schema import null


class InputPart(msgspec.Struct, gc=False):
    """One part of a message's content, of a call's output or of reasoning."""

    type: str
    text: str | None = None
    refusal: str | None = None


class InputItem(msgspec.Struct, gc=False):
    """An item of the input: a message, a call, its output, or reasoning."""

    type: str | None = None
    role: str | None = None
    content: str | list[InputPart] | None = None
    id: str | None = None
    status: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[InputPart] | None = None
    summary: list[InputPart] | None = None
    encrypted_content: str | None = None


class FunctionTool(msgspec.Struct, gc=False):
    """A function that the model may call; other types of tools run at OpenAI."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ReasoningOptions(msgspec.Struct, gc=False):
    """How long to think, and what to say of it."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class TextOptions(msgspec.Struct, gc=False):
    """The form of the text."""

    format: dict[str, Any] | None = None
    verbosity: str | None = None


class StreamOptions(msgspec.Struct, gc=False):
    """Options of streamed responses."""

    include_obfuscation: bool | None = None


class ResponseRequest(msgspec.Struct, kw_only=True, gc=False):
    """POST /v1/responses."""

    input: str | list[InputItem] | None = None
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    background: bool | None = None
    include: list[str] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    truncation: str | None = None
    metadata: msgspec.Raw = msgspec.field(default_factory=null)
    user: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None

    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool | None = None
    priority: int | None = None
    cache_salt: str | None = None
    timeout: float | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    conversation: Any = None
    prompt: Any = None
    max_tool_calls: Any = None
    context_management: Any = None
    moderation: Any = None
    prompt_cache_retention: Any = None
