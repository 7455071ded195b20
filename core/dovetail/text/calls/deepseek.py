"""Calls between special tokens: DeepSeek V3 and R1 (type, name, and JSON in a code fence), V3.1 (name and bare JSON).

Source: DeepSeek, chat templates of DeepSeek-V3-0324, DeepSeek-R1-0528 and DeepSeek-V3.1.
"""

from __future__ import annotations

from .format import Format
from .jsontext import pass_value
from .lark import Lark
from .source import MAX_NAME, Markers, NoCall, Reading, Source
from .writer import Writer

CALLS, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL, SEPARATOR, CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"
FENCE, FENCE_END = "```json\n", "\n```"
_SEPARATOR = Markers((SEPARATOR,))
_LINE_OR_OBJECT = Markers(("\n", "{"))


def _read(source: Source, out: Writer, opening: str) -> Reading[None]:
    if opening == CALLS:
        yield from source.space()
        yield from source.expect(CALL)
    while True:
        yield from _read_one(source, out)
        source.mark()
        yield from source.space()
        yield from source.takes(CALL_END)
        yield from source.space()
        if not (yield from source.takes(CALL)):
            break
    yield from source.takes(CALLS_END)


def _read_one(source: Source, out: Writer) -> Reading[None]:
    """NAME sep {...}, or TYPE sep NAME, a line end and {...} in a fence."""
    name, _ = yield from source.read_until(_SEPARATOR, most=MAX_NAME)
    yield from source.space()
    fenced = False
    if (yield from source.peek()) != "{":
        name, end = yield from source.read_until(_LINE_OR_OBJECT, most=MAX_NAME)
        if end == "{":
            raise NoCall
        yield from source.space()
        fenced = yield from source.takes("```json")
        yield from source.space()
    if not (name := name.strip()) or (yield from source.peek()) != "{":
        raise NoCall
    source.settle()
    out.start(name)
    yield from pass_value(source, out.arguments)
    out.end()
    if fenced:
        source.mark()
        yield from source.space()
        yield from source.takes("```")


def _grammar_v3(lark: Lark) -> str:
    call = lark.named_call(f"{CALL}function{SEPARATOR}", "\n" + FENCE, FENCE_END + CALL_END)
    return f"{lark.literal(CALLS)} {lark.repeat(call, chr(10))} {lark.literal(CALLS_END)}"


def _grammar_v31(lark: Lark) -> str:
    call = lark.named_call(CALL, SEPARATOR, CALL_END)
    return f"{lark.literal(CALLS)} {lark.repeat(call, '')} {lark.literal(CALLS_END)}"


_KEEP = (CALLS_END, SEPARATOR, CALL_END)
DEEPSEEK_V3 = Format(
    name="deepseek_v3",
    opening=(CALLS, CALL),
    read=_read,
    grammar=_grammar_v3,
    keep=_KEEP,
    text_arguments=True,
)
DEEPSEEK_V31 = Format(
    name="deepseek_v31",
    opening=(CALLS, CALL),
    read=_read,
    grammar=_grammar_v31,
    keep=_KEEP,
    text_arguments=True,
)
