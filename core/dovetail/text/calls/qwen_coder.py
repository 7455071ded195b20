"""<function=NAME> with <parameter=KEY> ... </parameter> within: Qwen3-Coder and Qwen3.5; values are text, typed by the tool's schema.

Source: Qwen, chat template of Qwen3-Coder.
"""

from __future__ import annotations

from .arguments import Arguments
from .format import Format
from .lark import Lark
from .source import MAX_NAME, Markers, NoCall, Reading, Source
from .writer import Writer

CALL, CALL_END = "<tool_call>", "</tool_call>"
FUNCTION, FUNCTION_END = "<function=", "</function>"
PARAMETER, PARAMETER_END = "<parameter=", "</parameter>"
_NAME_END = Markers((">", "\n", "<"))
_VALUE_END = Markers((PARAMETER_END,))


def _read(source: Source, out: Writer, opening: str) -> Reading[None]:
    if opening == CALL:
        yield from source.space()
        yield from source.expect(FUNCTION)
    name = yield from _name(source)
    source.settle()
    out.start(name)
    arguments = Arguments(out, name)
    source.mark()
    while True:
        yield from source.space()
        if not (yield from source.takes(PARAMETER)):
            break
        key = yield from _name(source)
        source.settle()
        yield from arguments.read(source, key, _VALUE_END, lines=True)
        source.mark()
    yield from source.expect(FUNCTION_END)
    arguments.close()
    out.end()
    source.mark()
    yield from source.space()
    yield from source.takes(CALL_END)


def _name(source: Source) -> Reading[str]:
    """NAME>"""
    name, end = yield from source.read_until(_NAME_END, most=MAX_NAME)
    if end != ">" or not name.strip():
        raise NoCall
    return name.strip()


def _grammar(lark: Lark) -> str:
    call = lark.typed_call(
        f"{CALL}\n{FUNCTION}{{name}}>\n",
        f"{PARAMETER}{{key}}>\n",
        f"\n{PARAMETER_END}\n",
        f"{FUNCTION_END}\n{CALL_END}",
    )
    return lark.repeat(call, "\n", own=True)


QWEN3_CODER = Format(
    name="qwen3_coder",
    opening=(CALL, FUNCTION),
    read=_read,
    grammar=_grammar,
    keep=(CALL_END, FUNCTION_END, PARAMETER, PARAMETER_END),
)
