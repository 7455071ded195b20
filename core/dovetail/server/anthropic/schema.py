"""Requests as Anthropic's clients send them.

Every optional field may be null. Fields nobody knows are ignored; fields that are known and not supported are declared, so
that asking.py can refuse them by name. gc=False: what JSON makes has no cycles.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Block(msgspec.Struct, gc=False):
    """A block of content, of whichever type; what belongs to other types is absent."""

    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | list[Block] | None = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class Message(msgspec.Struct, gc=False):
    """One turn."""

    role: str
    content: str | list[Block]


class Tool(msgspec.Struct, gc=False):
    """A tool of the client; those of Anthropic's own servers have another type."""

    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    input_examples: list[dict[str, Any]] | None = None


class ToolChoice(msgspec.Struct, gc=False):
    """auto, any, tool (with a name) or none."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, gc=False):
    """enabled (with a budget), adaptive or disabled."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Format(msgspec.Struct, gc=False):
    """A form of the output."""

    type: str
    schema: dict[str, Any] | None = None


class OutputConfig(msgspec.Struct, gc=False):
    """How much effort to make, and the form of the output."""

    effort: str | None = None
    format: Format | None = None


class Metadata(msgspec.Struct, gc=False):
    """Who asks."""

    user_id: str | None = None


class CountRequest(msgspec.Struct, kw_only=True, gc=False):
    """POST /v1/messages/count_tokens: what becomes a prompt."""

    messages: list[Message]
    model: str | None = None
    system: str | list[Block] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    speed: str | None = None

    container: Any = None
    context_management: Any = None
    diagnostics: Any = None
    mcp_servers: Any = None


class MessagesRequest(CountRequest, kw_only=True, gc=False):
    """POST /v1/messages."""

    max_tokens: int
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: Metadata | None = None
    service_tier: str | None = None
