"""Which way of writing calls a model has, told from its chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .parts import CallArguments, CallEnd, CallStart, Part, Speech, Text
from .template import ChatTemplate
from .tokenizer import Tokenizer
from .tools import Found, ToolParser, tag_ids, writes_calls


class Hermes:
    """Calls as Hermes and Qwen write them; see tools.py."""

    takes_tools = True

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.keep = tag_ids(tokenizer)

    def parser(
        self, prompt: str, tools: Sequence[Mapping[str, Any]], *, parallel: bool
    ) -> HermesParser | None:
        """As Speech.parser: only where tools were offered."""
        return HermesParser(parallel=parallel) if tools else None


class HermesParser:
    """A ToolParser whose finds are parts."""

    reasoning = False

    def __init__(self, *, parallel: bool) -> None:
        self._parser = ToolParser(parallel=parallel)

    def push(self, text: str) -> list[Part]:
        """As Parser.push."""
        return self._parts(self._parser.num_calls, self._parser.push(text))

    def flush(self) -> list[Part]:
        """As Parser.flush."""
        return self._parts(self._parser.num_calls, self._parser.flush())

    def _parts(self, number: int, found: Found) -> list[Part]:
        parts: list[Part] = [Text(found.text)] if found.text else []
        for index, call in enumerate(found.calls, start=number):
            parts.append(CallStart(index, call.id, call.name))
            parts.append(CallArguments(index, call.arguments))
            parts.append(CallEnd(index))
        return parts


def speech_of(template: ChatTemplate | None, tokenizer: Tokenizer) -> Speech | None:
    """How a model with this template writes; None if it writes plain text alone."""
    if template is not None and writes_calls(template):
        return Hermes(tokenizer)
    return None
