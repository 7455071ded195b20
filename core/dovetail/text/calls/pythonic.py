"""[name(key=value, ...), ...] in Python's syntax as the whole answer, or after <|python_start|>: Llama 4, Llama 3.2.

Only names of offered tools make a call here. A call is given out argument by argument once its name and bracket are there.
Source: Meta, chat template of Llama-4 ("[func_name1(param1=value1, param2=value2), func_name2(...)]").
"""

from __future__ import annotations

import re

from .arguments import Arguments
from .format import Format
from .lark import Lark
from .literals import read_literal
from .source import NoCall, Reading, Source
from .writer import Writer

OPENING, CLOSING = "<|python_start|>", "<|python_end|>"
_NAME = re.compile(r"[\w.\-]+")


def _read(source: Source, out: Writer, opening: str) -> Reading[None]:
    yield from source.space()
    yield from source.expect("[")
    while True:
        yield from source.space()
        yield from _read_one(source, out)
        source.mark()
        yield from source.space()
        if not (yield from source.takes(",")):
            break
    yield from source.expect("]")
    yield from source.space()
    yield from source.takes(CLOSING)


def _read_one(source: Source, out: Writer) -> Reading[None]:
    name = yield from source.match(_NAME)
    if name not in out.tools:
        raise NoCall
    yield from source.expect("(")
    pairs: dict[str, str] = {}
    while True:
        yield from source.space()
        if (yield from source.takes(")")):
            break
        if pairs:
            yield from source.expect(",")
            yield from source.space()
        key = yield from source.match(_NAME)
        yield from source.space()
        yield from source.expect("=")
        if not key or key in pairs:
            raise NoCall
        pairs[key] = yield from read_literal(source)
    source.settle()
    out.start(name)
    arguments = Arguments(out, name)
    for key, value in pairs.items():
        arguments.add(key, value)
    arguments.close()
    out.end()


def _grammar(lark: Lark) -> str:
    call = lark.pythonic_call()
    return f'"[" {lark.repeat(call, ", ")} "]"'


LLAMA4_PYTHONIC = Format(
    name="llama4_pythonic",
    opening=(OPENING,),
    bare="[",
    read=_read,
    grammar=_grammar,
    keep=(CLOSING,),
)
