"""Requests as Ollama's clients send them.

Every optional field may be null, and most may be empty: clients in Go send empty strings and lists for what is not set.
Fields nobody knows are ignored; what is known and not supported is declared and refused by name. gc=False: what JSON makes
has no cycles.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Options(msgspec.Struct, kw_only=True, gc=False):
    """How to draw, in Ollama's names. Those about loading say how Ollama should load a model; see options.py."""

    num_ctx: int | None = None
    num_predict: int | None = None
    seed: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    stop: str | list[str] | None = None

    tfs_z: float | None = None
    penalize_newline: bool | None = None


class FunctionCall(msgspec.Struct, gc=False):
    """A function the model called."""

    name: str
    arguments: dict[str, Any] | str | None = None


class ToolCall(msgspec.Struct, gc=False):
    """A call as it stands in an assistant's message."""

    function: FunctionCall
    id: str | None = None


class Message(msgspec.Struct, gc=False):
    """One message of a chat."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[Any] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Function(msgspec.Struct, gc=False):
    """A function the model may call; parameters is a JSON schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct, gc=False):
    """A tool: always a function."""

    function: Function
    type: str | None = None


class Ask(msgspec.Struct, kw_only=True, gc=False):
    """What chats and completions share. format: "", "json" or a JSON schema. think: a switch or a level."""

    model: str | None = None
    options: Options | None = None
    stream: bool | None = None
    format: Any = None
    think: bool | str | None = None
    keep_alive: float | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class ChatRequest(Ask, kw_only=True, gc=False):
    """POST /api/chat."""

    messages: list[Message] | None = None
    tools: list[Tool] | None = None


class GenerateRequest(Ask, kw_only=True, gc=False):
    """POST /api/generate."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    context: list[int] | None = None
    raw: bool | None = None
    template: Any = None
    images: list[Any] | None = None
    width: Any = None
    height: Any = None
    steps: Any = None


class EmbedRequest(msgspec.Struct, kw_only=True, gc=False):
    """POST /api/embed."""

    input: str | list[str]
    model: str | None = None
    truncate: bool | None = None
    dimensions: int | None = None
    options: Options | None = None
    keep_alive: float | str | None = None


class EmbeddingsRequest(msgspec.Struct, kw_only=True, gc=False):
    """POST /api/embeddings, the older form."""

    model: str | None = None
    prompt: str | None = None
    options: Options | None = None
    keep_alive: float | str | None = None


class ShowRequest(msgspec.Struct, kw_only=True, gc=False):
    """POST /api/show; name is the older spelling of model."""

    model: str | None = None
    name: str | None = None
    verbose: bool | None = None
