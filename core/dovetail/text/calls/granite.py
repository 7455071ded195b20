"""<|tool_call|>[{"name": ..., "arguments": {...}}, ...]: Granite 3; <tool_call>[...] in some of its versions.

Source: IBM, chat templates of granite-3.0 to 3.3 (their prompts ask for "<|tool_call|>" followed by a JSON list of tools).
"""

from __future__ import annotations

from .format import Format
from .jsontext import read_calls
from .lark import Lark
from .source import Reading, Source
from .writer import Writer

OPENINGS = ("<|tool_call|>", "<tool_call>")


def _read(source: Source, out: Writer, opening: str) -> Reading[None]:
    yield from source.space()
    yield from read_calls(source, out)


def _grammar(lark: Lark) -> str:
    call = lark.json_call('{"name": ', ', "arguments": ', "}")
    return lark.literal(OPENINGS[0] + "[") + " " + lark.repeat(call, ", ") + ' "]"'


GRANITE = Format(name="granite", opening=OPENINGS, read=_read, grammar=_grammar)
