"""[TOOL_CALLS] and a list of {"name", "arguments", "id"}, or name[ARGS]{...} once per call: Mistral's models.

The list is of tokenizers up to version 7; later ones write [TOOL_CALLS]name[ARGS]{...} (version 13), version 11 with
[CALL_ID]id before [ARGS]; some leave [ARGS] out. Ids have nine letters or digits: templates refuse others.
Source: mistral-common, instruct tokenizers V3 to V13.
"""

from __future__ import annotations

from .format import Format
from .jsontext import pass_value, read_calls
from .lark import Lark
from .source import MAX_NAME, Markers, NoCall, Reading, Source
from .writer import Writer

OPENING, CALL_ID, ARGS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
_AFTER_NAME = Markers((CALL_ID, ARGS, "{", "[TOOL_CALLS]"))
_AFTER_ID = Markers((ARGS, "{"))


def _read(source: Source, out: Writer, opening: str) -> Reading[None]:
    yield from source.space()
    first = yield from source.peek()
    if first == "[":
        yield from read_calls(source, out)
    else:
        yield from _read_named(source, out)


def _read_named(source: Source, out: Writer) -> Reading[None]:
    """name[ARGS]{...}"""
    call_id = None
    name, marker = yield from source.read_until(_AFTER_NAME, most=MAX_NAME)
    if marker == CALL_ID:
        call_id, marker = yield from source.read_until(_AFTER_ID, most=MAX_NAME)
        call_id = call_id.strip()
    name = name.strip()
    if marker == OPENING or not name or any(c.isspace() for c in name):
        raise NoCall
    if marker == ARGS:
        yield from source.space()
        if (yield from source.peek()) != "{":
            raise NoCall
    else:
        source.back(1)
    source.settle()
    out.start(name, call_id)
    yield from pass_value(source, out.arguments)
    out.end()


def _grammar(lark: Lark) -> str:
    """The list where the tokenizer has no [ARGS], else the later form."""
    if lark.is_token(ARGS):
        return lark.repeat(lark.named_call(OPENING, ARGS), "", own=True)
    call = lark.json_call('{"name": ', ', "arguments": ', "}")
    return lark.literal(OPENING + " [") + " " + lark.repeat(call, ", ") + ' "]"'


MISTRAL = Format(
    name="mistral",
    opening=(OPENING,),
    read=_read,
    grammar=_grammar,
    keep=(CALL_ID, ARGS),
    short_ids=True,
)
