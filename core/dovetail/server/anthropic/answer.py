"""Replies as Anthropic writes them: blocks of content, whole or as events in the documented order.

message_start, ping, then for each block content_block_start, its deltas and content_block_stop, then message_delta and
message_stop.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from dovetail.text.parts import (
    Call,
    CallArguments,
    CallStart,
    Part,
    Reasoning,
    Text,
    joined,
)

encode = msgspec.json.encode
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def event(kind: str, fields: Mapping[str, Any]) -> bytes:
    """One event; its name is in its data too."""
    return b"event: " + kind.encode() + b"\ndata: " + encode({"type": kind, **fields}) + b"\n\n"


def signature(thinking: str) -> str:
    """What a client has to send back with a thinking block. It proves nothing, and nothing here reads it."""
    return base64.b64encode(hashlib.sha256(thinking.encode()).digest()).decode()


def blocks_of(parts: Iterable[Part], *, omit_thinking: bool = False) -> list[dict[str, Any]]:
    """The content of a whole reply."""
    return [_block(block, omit_thinking) for block in joined(parts)]


def _block(block: Text | Reasoning | Call, omit_thinking: bool) -> dict[str, Any]:
    if isinstance(block, Text):
        return {"type": "text", "text": block.text, "citations": None}
    if isinstance(block, Reasoning):
        shown = "" if omit_thinking else block.text
        return {"type": "thinking", "thinking": shown, "signature": signature(block.text)}
    return {"type": "tool_use", "id": block.id, "name": block.name, "input": _input(block)}


def _input(call: Call) -> dict[str, Any]:
    """Arguments as an object; empty for those that max_tokens has cut off."""
    try:
        value = json.loads(call.arguments or "{}", strict=False)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


class Events:
    """Writes the events of one reply's content."""

    def __init__(self, *, omit_thinking: bool = False) -> None:
        self._omit_thinking = omit_thinking
        self._index = -1
        self._open: type[Part] | None = None
        self._thought = hashlib.sha256()

    def write(self, parts: Iterable[Part]) -> bytes:
        """The events of these parts."""
        return b"".join(self._write(part) for part in parts)

    def _write(self, part: Part) -> bytes:
        if isinstance(part, Text):
            if not part.text:
                return b""
            opening = self._enter(Text, {"type": "text", "text": "", "citations": None})
            return opening + self._delta({"type": "text_delta", "text": part.text})
        if isinstance(part, Reasoning):
            return self._write_thinking(part)
        if isinstance(part, CallStart):
            block = {"type": "tool_use", "id": part.id, "name": part.name, "input": {}}
            return self.close() + self._enter(CallStart, block)
        if isinstance(part, CallArguments):
            return self._delta({"type": "input_json_delta", "partial_json": part.text})
        return self.close()

    def _write_thinking(self, part: Reasoning) -> bytes:
        opening = self._enter(Reasoning, {"type": "thinking", "thinking": "", "signature": ""})
        self._thought.update(part.text.encode())
        if self._omit_thinking:
            return opening
        return opening + self._delta({"type": "thinking_delta", "thinking": part.text})

    def _enter(self, kind: type[Part], block: Mapping[str, Any]) -> bytes:
        """Begin a block, unless one of the kind is open."""
        if self._open is kind:
            return b""
        closing = self.close()
        self._index += 1
        self._open = kind
        return closing + event(
            "content_block_start", {"index": self._index, "content_block": block}
        )

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        return event("content_block_delta", {"index": self._index, "delta": delta})

    def close(self) -> bytes:
        """End the block that is open."""
        if self._open is None:
            return b""
        last = b""
        if self._open is Reasoning:
            signed = base64.b64encode(self._thought.digest()).decode()
            last = self._delta({"type": "signature_delta", "signature": signed})
            self._thought = hashlib.sha256()
        self._open = None
        return last + event("content_block_stop", {"index": self._index})
