"""<tool_call>{"name": ..., "arguments": {...}}</tool_call>: Hermes, Qwen 2.5 and 3, Granite 4 and many others."""

from __future__ import annotations

from .format import Format
from .jsontext import read_call
from .lark import Lark
from .source import Reading, Source
from .writer import Writer

OPENING, CLOSING = "<tool_call>", "</tool_call>"


def _read(source: Source, out: Writer, opening: str) -> Reading[None]:
    yield from source.space()
    yield from read_call(source, out)
    source.mark()
    yield from source.space()
    yield from source.takes(CLOSING)


def _grammar(lark: Lark) -> str:
    call = lark.json_call(OPENING + '\n{"name": ', ', "arguments": ', "}\n" + CLOSING)
    return lark.repeat(call, "\n", own=True)


HERMES = Format(name="hermes", opening=(OPENING,), read=_read, grammar=_grammar, keep=(CLOSING,))
