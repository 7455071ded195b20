"""Answers in Anthropic's form, for the description of the API and its tests; they are not written from these types."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Ending = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"
]


class OutputDetails(msgspec.Struct):
    """Of what was generated."""

    thinking_tokens: int


class DeltaUsage(msgspec.Struct):
    """Tokens; those from the prefix cache are counted apart."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputDetails


class Usage(DeltaUsage):
    """The same, of a message."""

    service_tier: Literal["standard"]


class TextBlock(msgspec.Struct, tag_field="type", tag="text"):
    """Text for the reader."""

    text: str
    citations: None


class ThinkingBlock(msgspec.Struct, tag_field="type", tag="thinking"):
    """What the model wrote to itself."""

    thinking: str
    signature: str


class ToolBlock(msgspec.Struct, tag_field="type", tag="tool_use"):
    """A call."""

    id: str
    name: str
    input: dict[str, Any]


Block = TextBlock | ThinkingBlock | ToolBlock


class Message(msgspec.Struct, kw_only=True):
    """A reply."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[Block]
    stop_reason: Ending | None
    stop_sequence: str | None
    usage: Usage


class Count(msgspec.Struct):
    """Tokens of a prompt."""

    input_tokens: int


class TextDelta(msgspec.Struct, tag_field="type", tag="text_delta"):
    """More of a text."""

    text: str


class ThinkingDelta(msgspec.Struct, tag_field="type", tag="thinking_delta"):
    """More of what the model writes to itself."""

    thinking: str


class SignatureDelta(msgspec.Struct, tag_field="type", tag="signature_delta"):
    """What goes back with a thinking block."""

    signature: str


class InputDelta(msgspec.Struct, tag_field="type", tag="input_json_delta"):
    """More of a call's arguments."""

    partial_json: str


class Ended(msgspec.Struct):
    """Why a reply ended."""

    stop_reason: Ending
    stop_sequence: str | None


class MessageStart(msgspec.Struct, tag_field="type", tag="message_start"):
    """The first event: a message without content."""

    message: Message


class Ping(msgspec.Struct, tag_field="type", tag="ping"):
    """Says nothing."""


class BlockStart(msgspec.Struct, tag_field="type", tag="content_block_start"):
    """A block begins, empty."""

    index: int
    content_block: Block


class BlockDelta(msgspec.Struct, tag_field="type", tag="content_block_delta"):
    """It grows."""

    index: int
    delta: TextDelta | ThinkingDelta | SignatureDelta | InputDelta


class BlockStop(msgspec.Struct, tag_field="type", tag="content_block_stop"):
    """It is complete."""

    index: int


class MessageDelta(msgspec.Struct, tag_field="type", tag="message_delta"):
    """How the message ended."""

    delta: Ended
    usage: DeltaUsage


class MessageStop(msgspec.Struct, tag_field="type", tag="message_stop"):
    """The last event."""


Event = MessageStart | Ping | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop


class FailureFields(msgspec.Struct):
    """What went wrong."""

    type: str
    message: str


class Failure(msgspec.Struct, tag_field="type", tag="error"):
    """The body of every answer from 400 on."""

    error: FailureFields
