"""JSON in text that comes in pieces: values are passed on as they are written, without waiting for their end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from .source import MAX_NAME, NoCall, Reading, Source
from .writer import Writer

_STRUCTURE = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\]')
_SCALAR = re.compile(r"[^,\]}\s]+")
NAME = "name"
ARGUMENTS = ("arguments", "parameters")
_CONTROL = {code: json.dumps(chr(code))[1:-1] for code in range(0x20)}
Emit = Callable[[str], object]


def quoted(text: str) -> str:
    """A JSON string."""
    return json.dumps(text, ensure_ascii=False)


def pass_value(source: Source, emit: Emit) -> Reading[None]:
    """Hand a JSON value on as it is written; of brackets only their number is checked.

    At the end of the text it returns with what there was. Raises NoCall if there is no value at all.
    """
    first = yield from source.peek()
    if first == '"':
        yield from pass_string(source, emit)
    elif first in ("{", "["):
        yield from _pass_brackets(source, emit)
    else:
        scalar = yield from source.match(_SCALAR)
        if not scalar:
            raise NoCall
        emit(scalar)


def _pass_brackets(source: Source, emit: Emit) -> Reading[None]:
    depth = 0
    while (yield from source.more()):
        found = _STRUCTURE.search(source.text, source.at)
        if found is None:
            emit(source.consume(len(source.text)))
        elif found[0] == '"':
            if found.start() > source.at:
                emit(source.consume(found.start()))
            yield from pass_string(source, emit)
        else:
            depth += 1 if found[0] in "{[" else -1
            emit(source.consume(found.end()))
            if depth == 0:
                return


def pass_string(source: Source, emit: Emit) -> Reading[None]:
    """Hand a string on with its quotes and escapes as written; control characters, which JSON forbids there, escaped."""
    emit(source.consume(source.at + 1))
    while (yield from source.more()):
        found = _IN_STRING.search(source.text, source.at)
        end = found.end() if found else len(source.text)
        emit(source.consume(end).translate(_CONTROL))
        if found is None:
            continue
        if found[0] == '"':
            return
        if (yield from source.more()):
            emit(source.consume(source.at + 1))


def read_value(source: Source, *, most: int | None = None) -> Reading[str]:
    """The text of a JSON value, whole; raises NoCall if it has none, no end, or is longer than `most` characters."""
    parts: list[str] = []
    size = 0

    def keep(text: str) -> None:
        nonlocal size
        parts.append(text)
        size += len(text)
        if most is not None and size > most:
            raise NoCall

    yield from pass_value(source, keep)
    return "".join(parts)


def read_string(source: Source) -> Reading[str]:
    """A short string: a key or a name. Raises NoCall if it is none."""
    if (yield from source.peek()) != '"':
        raise NoCall
    value = decoded((yield from read_value(source, most=4 * MAX_NAME)))
    if not isinstance(value, str):
        raise NoCall
    return value


def decoded(text: str) -> object:
    """The value of JSON; raises NoCall if it is none."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        raise NoCall from None


def read_call(source: Source, out: Writer, *, known: bool = False) -> Reading[None]:
    """A call as an object: {"name": ..., "arguments" or "parameters": {...}}, other members ignored.

    It is certain once its name and the start of its arguments are there, or its end. Arguments that come before the name
    wait for it; those written as a string that holds JSON are unpacked; those that are null or missing become {}.

    known  only names of tools that were offered make a call
    """
    call = _Call(source, out, known)
    yield from source.expect("{")
    while True:
        yield from source.space()
        if (yield from source.takes("}")):
            break
        key = yield from read_string(source)
        yield from source.space()
        yield from source.expect(":")
        yield from source.space()
        yield from call.member(key)
        yield from source.space()
        if not (yield from source.takes(",")) and not (yield from source.sees("}")):
            raise NoCall
    call.finish()


class _Call:
    """What is known of a call whose members come in any order."""

    def __init__(self, source: Source, out: Writer, known: bool) -> None:
        self._source = source
        self._out = out
        self._known = known
        self._name = ""
        self._waiting = ""  # arguments that came before the name
        self._written = False

    def member(self, key: str) -> Reading[None]:
        """Read the value of a member."""
        if key == NAME and not self._name:
            name = yield from read_string(self._source)
            if not name or len(name) > MAX_NAME or (self._known and name not in self._out.tools):
                raise NoCall
            self._name = name
        elif key in ARGUMENTS and not self._written:
            yield from self._arguments()
        else:
            yield from read_value(self._source)

    def _arguments(self) -> Reading[None]:
        opening = yield from self._source.peek()
        if self._name and opening in ("{", "["):
            self._begin()
            yield from pass_value(self._source, self._out.arguments)
            self._written = True
            self._source.mark()
        else:
            text = yield from read_value(self._source)
            self._waiting = unpacked(text, decoded(text))

    def finish(self) -> None:
        """The object is closed."""
        if not self._name:
            raise NoCall
        if not self._written:
            self._begin()
            self._out.arguments(self._waiting or "{}")
        self._out.end()

    def _begin(self) -> None:
        self._source.settle()
        self._out.start(self._name)


def unpacked(text: str, value: object) -> str:
    """Arguments as an object's text: of a string what it holds, of null {}."""
    if isinstance(value, str):
        return value.strip() or "{}"
    return "{}" if value is None else text


def read_calls(source: Source, out: Writer) -> Reading[None]:
    """Calls in a list: [{...}, {...}]."""
    yield from source.expect("[")
    while True:
        yield from source.space()
        yield from read_call(source, out)
        source.mark()
        yield from source.space()
        if not (yield from source.takes(",")):
            break
    yield from source.expect("]")
