"""functools[{"name": ..., "arguments": {...}}, ...], or the list between <|tool_call|> and <|/tool_call|>: Phi-4-mini.

Source: Microsoft, model card and tokenizer of Phi-4-mini-instruct.
"""

from __future__ import annotations

from .format import Format
from .jsontext import read_calls
from .lark import Lark
from .source import Reading, Source
from .writer import Writer

FUNCTOOLS, OPENING, CLOSING = "functools[", "<|tool_call|>", "<|/tool_call|>"


def _read(source: Source, out: Writer, opening: str) -> Reading[None]:
    if opening == FUNCTOOLS:
        source.back(1)
    yield from source.space()
    yield from read_calls(source, out)
    source.mark()
    yield from source.space()
    if opening == OPENING:
        yield from source.takes(CLOSING)


def _grammar(lark: Lark) -> str:
    call = lark.json_call('{"name": ', ', "arguments": ', "}")
    return lark.literal(FUNCTOOLS) + " " + lark.repeat(call, ", ") + ' "]"'


PHI4_MINI_JSON = Format(
    name="phi4_mini_json",
    opening=(FUNCTOOLS, OPENING),
    read=_read,
    grammar=_grammar,
    keep=(CLOSING,),
    text_arguments=True,
)
