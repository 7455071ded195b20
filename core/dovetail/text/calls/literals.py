"""Values as Python writes them, or as FunctionGemma does -> JSON: read one by one, nesting bounded."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass

from .jsontext import quoted
from .source import Markers, NoCall, Reading, Source

MAX_NESTING = 64
_WORD = re.compile(r"[^\s,:\[\]{}()=\"'<>]+")
_WORDS = {"True": "true", "False": "false", "None": "null"}
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "a": "\a",
    "v": "\v",
    "0": "\0",
    "\n": "",
}
_CODES = {"x": 2, "u": 4, "U": 8}
_QUOTES = {quote: Markers((quote, "\\")) for quote in ('"', "'")}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a format writes values.

    fence      what stands at both ends of a string, besides Python's quotes where those count
    bare_keys  keys of objects are words, not strings
    """

    fence: str = ""
    bare_keys: bool = False


PYTHON = Dialect()


def read_literal(source: Source, dialect: Dialect = PYTHON, depth: int = 0) -> Reading[str]:
    """A value as JSON; raises NoCall if it is none."""
    if depth > MAX_NESTING:
        raise NoCall
    yield from source.space()
    first = yield from source.peek()
    if first in ("[", "("):
        return (yield from _sequence(source, dialect, depth))
    if first == "{":
        return (yield from _mapping(source, dialect, depth))
    if (text := (yield from _string(source, dialect))) is not None:
        return quoted(text)
    return _word((yield from source.match(_WORD)))


def _word(word: str) -> str:
    """A number, or one of the words, of Python or of JSON."""
    if word in ("true", "false", "null"):
        return word
    if word in _WORDS:
        return _WORDS[word]
    number = word.removeprefix("+").replace("_", "")
    if _NUMBER.fullmatch(number):
        return number
    try:  # what JSON writes in another way: 1., .5, 007
        value = float(number)
    except ValueError:
        raise NoCall from None
    if not number.isascii() or value != value or value in (float("inf"), float("-inf")):
        raise NoCall
    return str(int(value)) if value.is_integer() and "." not in number else repr(value)


def _string(source: Source, dialect: Dialect) -> Generator[None, None, str | None]:
    """The text of a string, None if none begins here."""
    if dialect.fence:
        if not (yield from source.takes(dialect.fence)):
            return None
        text, _ = yield from source.read_until(Markers((dialect.fence,)))
        return text
    quote = yield from source.peek()
    if not quote or quote not in _QUOTES:
        return None
    source.consume(source.at + 1)
    parts: list[str] = []
    while True:
        text, end = yield from source.read_until(_QUOTES[quote])
        parts.append(text)
        if end == quote:
            return _paired("".join(parts))
        parts.append((yield from _escape(source)))


def _escape(source: Source) -> Reading[str]:
    """What comes after a backslash."""
    if not (yield from source.more()):
        raise NoCall
    char = source.consume(source.at + 1)
    if char not in _CODES:
        return _ESCAPES.get(char, char if char in "\\\"'/" else "\\" + char)
    digits = ""
    while len(digits) < _CODES[char] and (yield from source.more()):
        digits += source.consume(source.at + 1)
    try:
        return chr(int(digits, 16))
    except (ValueError, OverflowError):
        raise NoCall from None


def _paired(text: str) -> str:
    """With two halves of a character put together; a half alone is no character."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise NoCall from None


def _sequence(source: Source, dialect: Dialect, depth: int) -> Reading[str]:
    closing = "]" if source.consume(source.at + 1) == "[" else ")"
    items: list[str] = []
    while True:
        yield from source.space()
        if (yield from source.takes(closing)):
            return "[" + ", ".join(items) + "]"
        if items:
            yield from source.expect(",")
            yield from source.space()
            if (yield from source.takes(closing)):
                return "[" + ", ".join(items) + "]"
        items.append((yield from read_literal(source, dialect, depth + 1)))


def _mapping(source: Source, dialect: Dialect, depth: int) -> Reading[str]:
    source.consume(source.at + 1)
    items: list[str] = []
    while True:
        yield from source.space()
        if items and not (yield from source.sees("}")):
            yield from source.expect(",")
            yield from source.space()
        if (yield from source.takes("}")):
            return "{" + ", ".join(items) + "}"
        key = quoted((yield from read_key(source, dialect)))
        yield from source.space()
        yield from source.expect(":")
        items.append(f"{key}: {yield from read_literal(source, dialect, depth + 1)}")


def read_key(source: Source, dialect: Dialect) -> Reading[str]:
    """A key of an object; raises NoCall if it is none."""
    key = yield from _string(source, dialect)
    if key is None and dialect.bare_keys:
        if (yield from source.peek()) == '"':
            key = yield from _string(source, PYTHON)
        else:
            key = yield from source.match(_WORD)
    if not key:
        raise NoCall
    return key
