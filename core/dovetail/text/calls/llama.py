"""{"name": ..., "parameters": {...}} as the whole answer, or after <|python_tag|>; several with ; between: Llama 3.1, 3.2, 3.3.

Only names of offered tools make a call here: an answer may well be some other JSON.
Source: Meta, prompt format of Llama 3.1 (JSON based tool calling).
"""

from __future__ import annotations

from .format import Format
from .jsontext import read_call
from .lark import Lark
from .source import Reading, Source
from .writer import Writer

TAG = "<|python_tag|>"


def _read(source: Source, out: Writer, opening: str) -> Reading[None]:
    while True:
        yield from source.space()
        yield from read_call(source, out, known=True)
        source.mark()
        yield from source.space()
        if not (yield from source.takes(";")):
            return


def _grammar(lark: Lark) -> str:
    return lark.repeat(lark.json_call('{"name": ', ', "parameters": ', "}"), "; ")


LLAMA3_JSON = Format(name="llama3_json", opening=(TAG,), bare="{", read=_read, grammar=_grammar)
