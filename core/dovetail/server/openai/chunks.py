"""Chunks as OpenAI writes them: their constant parts are encoded once per request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from dovetail import __version__
from dovetail.server.generation import Usage
from dovetail.server.sse import encode

DONE = b"data: [DONE]\n\n"


class Chunks:
    """Writes the chunks of one answer.

    usage  every chunk has a `usage` field, null but in the last
    """

    def __init__(self, *, chunk_id: str, kind: str, fields: Mapping[str, Any], usage: bool) -> None:
        head = {"id": chunk_id, "object": kind, **fields}
        self._head = b"data: " + encode(head)[:-1] + b',"choices":['
        self._with_usage = usage
        self._open = b',"finish_reason":null}]' + (b',"usage":null' if usage else b"") + b"}\n\n"
        self._starts: dict[int, bytes] = {}
        self._said: dict[int, bytes] = {}
        self._rest = b'},"logprobs":null' + self._open

    def start(self, index: int) -> bytes:
        """A chunk up to and with a choice's index; what follows is a field of the choice."""
        start = self._starts.get(index)
        if start is None:
            start = self._starts[index] = self._head + b'{"index":%d,' % index
        return start

    def said(self, index: int, text: str) -> bytes:
        """A whole chunk of a chat that says nothing but a text: what nearly all of them are."""
        start = self._said.get(index)
        if start is None:
            start = self._said[index] = self.start(index) + b'"delta":{"content":'
        return start + encode(text) + self._rest

    def end(self, finish: str | None) -> bytes:
        """The rest of a chunk after the choice's own fields."""
        if finish is None:
            return self._open
        usage = b',"usage":null' if self._with_usage else b""
        return b',"finish_reason":' + encode(finish) + b"}]" + usage + b"}\n\n"

    def detailed(self, finish: str | None, choice: dict[str, Any], chunk: dict[str, Any]) -> bytes:
        """As `end`, with more fields of the choice and of the chunk, `usage` perhaps among them."""
        if self._with_usage:
            chunk = {"usage": None} | chunk
        more = encode({"finish_reason": finish} | choice)[1:-1]
        rest = b"," + encode(chunk)[1:-1] if chunk else b""
        return b"," + more + b"}]" + rest + b"}\n\n"

    def usage(self, usage: Usage) -> bytes:
        """The last chunk: no choices, only the usage; nothing if it was not asked for."""
        if not self._with_usage:
            return b""
        return self._head + b'],"usage":' + encode(usage_fields(usage)) + b"}\n\n"


@lru_cache(maxsize=8)
def fingerprint(info: object) -> str:
    """Changes with whatever could change what a seed gives: version, model, platform, types."""
    return f"fp_{hashlib.sha256(f'{__version__} {info}'.encode()).hexdigest()[:12]}"


def usage_fields(usage: Usage) -> dict[str, object]:
    """Tokens counted as OpenAI does."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.generated,
        "total_tokens": usage.prompt + usage.generated,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
