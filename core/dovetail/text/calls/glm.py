"""<tool_call>NAME with <arg_key> and <arg_value> pairs: GLM 4.5 to 4.7; values are text, typed by the tool's schema.

Source: Z.ai, chat templates of GLM-4.5 and GLM-4.7 (which leaves the line ends out).
"""

from __future__ import annotations

from .arguments import Arguments
from .format import Format
from .lark import Lark
from .source import MAX_NAME, Markers, NoCall, Reading, Source
from .writer import Writer

CALL, CALL_END = "<tool_call>", "</tool_call>"
KEY, KEY_END = "<arg_key>", "</arg_key>"
VALUE, VALUE_END = "<arg_value>", "</arg_value>"
_NAME_END = Markers((KEY, CALL_END, CALL))
_KEY_END = Markers((KEY_END,))
_VALUE_END = Markers((VALUE_END,))


def _read(source: Source, out: Writer, opening: str) -> Reading[None]:
    name, end = yield from source.read_until(_NAME_END, most=MAX_NAME)
    name = name.strip()
    if end == CALL or not name or not set(name).isdisjoint(' \n{}<>"'):
        raise NoCall
    source.settle()
    out.start(name)
    arguments = Arguments(out, name)
    while end == KEY:
        source.mark(KEY)
        key, _ = yield from source.read_until(_KEY_END, most=MAX_NAME)
        yield from source.space()
        yield from source.expect(VALUE)
        source.settle()
        yield from arguments.read(source, key.strip(), _VALUE_END)
        source.mark()
        yield from source.space()
        end = KEY if (yield from source.takes(KEY)) else ""
    if end != CALL_END:
        yield from source.expect(CALL_END)
    arguments.close()
    out.end()


def _grammar(lark: Lark) -> str:
    call = lark.typed_call(
        f"{CALL}{{name}}\n",
        f"{KEY}{{key}}{KEY_END}\n{VALUE}",
        f"{VALUE_END}\n",
        CALL_END,
    )
    return lark.repeat(call, "\n", own=True)


GLM45 = Format(
    name="glm45",
    opening=(CALL,),
    read=_read,
    grammar=_grammar,
    keep=(CALL_END, KEY, KEY_END, VALUE, VALUE_END),
)
