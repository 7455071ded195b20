"""Tool calls in a reply's text: <tool_call>{"name": ..., "arguments": {...}}</tool_call>, as Hermes and Qwen write them."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from .parts import Call
from .stopping import StopMatcher
from .template import ChatTemplate
from .tokenizer import Tokenizer

OPENING, CLOSING = "<tool_call>", "</tool_call>"


@dataclass(slots=True)
class Found:
    """What is certain: plain text, then calls."""

    text: str = ""
    calls: list[Call] = field(default_factory=list)


class ToolParser:
    """Splits text that comes in pieces into plain text and calls. A call is given out whole.

    White space around calls belongs to neither. What looks like a call and is not JSON stays text.
    num_calls  so far
    """

    def __init__(self, *, parallel: bool = True) -> None:
        """Parallel: more than one call is given out."""
        self._parallel = parallel
        self._outside = StopMatcher([OPENING])
        self._inside: str | None = None
        self._space = ""
        self.num_calls = 0

    def push(self, text: str) -> Found:
        """What the new text makes certain."""
        found = Found()
        while text:
            if self._inside is None:
                text = self._read_plain(text, found)
            else:
                text = self._read_call(text, found)
        return found

    def flush(self) -> Found:
        """What is left at the end: an unfinished call is one if its JSON is whole, else text."""
        found = Found()
        if self._inside is not None:
            self._end_call(self._inside, found, closing="")
            self._inside = None
        rest = self._space + self._outside.flush()
        if not self.num_calls or rest.strip():
            found.text += rest
        self._space = ""
        return found

    def _read_plain(self, text: str, found: Found) -> str:
        """Consume text outside a call; returns what comes after an opening tag."""
        searched = self._outside.flush() + text
        self._outside = StopMatcher([OPENING])
        plain = self._space + self._outside.push(searched)
        kept = plain.rstrip()
        self._space = plain[len(kept) :]
        found.text += kept
        if self._outside.matched is None:
            return ""
        self._outside = StopMatcher([OPENING])
        self._inside = ""
        return searched[searched.index(OPENING) + len(OPENING) :]

    def _read_call(self, text: str, found: Found) -> str:
        """Consume text inside a call; returns what comes after the closing tag."""
        before = self._inside or ""
        start = max(0, len(before) - len(CLOSING))
        body = before + text
        end = body.find(CLOSING, start)
        if end < 0:
            self._inside = body
            return ""
        self._inside = None
        self._end_call(body[:end], found, closing=CLOSING)
        return body[end + len(CLOSING) :]

    def _end_call(self, body: str, found: Found, closing: str) -> None:
        call = parse_call(body)
        if call is None:
            found.text += self._space + OPENING + body + closing
        elif self._parallel or self.num_calls == 0:
            found.calls.append(call)
            self.num_calls += 1
        self._space = ""


def parse_call(body: str) -> Call | None:
    """The call that a JSON object describes, None if it is none."""
    try:
        value = json.loads(body.strip(), strict=False)
    except (ValueError, RecursionError):
        return None
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name:
        return None
    arguments: Any = value.get("arguments", {})
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return Call(f"call_{secrets.token_hex(12)}", name, arguments)


def writes_calls(template: ChatTemplate) -> bool:
    """Whether a model with this template takes tools and calls them in the form read here."""
    return template.takes_tools and OPENING in template.source


def tag_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids of the tags, which must stay in the text even where they are special tokens."""
    ids = (tokenizer.id_of(tag) for tag in (OPENING, CLOSING))
    return [token for token in ids if token is not None]
