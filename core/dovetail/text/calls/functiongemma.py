"""<start_function_call>call:NAME{key:<escape>text<escape>,other:1}<end_function_call>: FunctionGemma.

Source: Google, FunctionGemma's formatting guide: strings stand between <escape>, everything else as in JSON with bare keys.
"""

from __future__ import annotations

from .arguments import Arguments
from .format import Format
from .lark import Lark
from .literals import Dialect, read_key, read_literal
from .source import MAX_NAME, Markers, NoCall, Reading, Source
from .writer import Writer

OPENING, CLOSING, ESCAPE = "<start_function_call>", "<end_function_call>", "<escape>"
GEMMA = Dialect(fence=ESCAPE, bare_keys=True)
_NAME_END = Markers(("{", CLOSING, OPENING))
_STRING_END = Markers((ESCAPE,))


def _read(source: Source, out: Writer, opening: str) -> Reading[None]:
    yield from source.space()
    yield from source.expect("call:")
    name, end = yield from source.read_until(_NAME_END, most=MAX_NAME)
    if end != "{" or not (name := name.strip()):
        raise NoCall
    source.settle()
    out.start(name)
    arguments = Arguments(out, name)
    source.mark()
    while True:
        yield from source.space()
        yield from source.takes(",")
        yield from source.space()
        if (yield from source.takes("}")):
            break
        key = yield from read_key(source, GEMMA)
        yield from source.space()
        yield from source.expect(":")
        yield from source.space()
        if (yield from source.takes(ESCAPE)):
            source.settle()
            yield from arguments.read(source, key, _STRING_END, string=True)
        else:
            arguments.add(key, (yield from read_literal(source, GEMMA)))
        source.mark()
    arguments.close()
    out.end()
    yield from source.space()
    yield from source.takes(CLOSING)


def _grammar(lark: Lark) -> str:
    return lark.repeat(lark.gemma_call(OPENING + "call:", ESCAPE, CLOSING), "", own=True)


FUNCTIONGEMMA = Format(
    name="functiongemma",
    opening=(OPENING,),
    read=_read,
    grammar=_grammar,
    keep=(CLOSING, ESCAPE),
)
