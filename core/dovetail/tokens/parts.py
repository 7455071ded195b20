"""The parts of a tokenizer around its model: how far each may grow a text, and what in it the library trusts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .patterns import MAX_PATTERN, plain

PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
MAX_DEPTH = 16
MAX_VALUES = 20_000
MAX_STRING = 8192
MAX_NUMBER = 1 << 32
MAX_STEPS = 64
MAX_GROWTH = 256
MAX_ADDED = 1024
MAX_TEMPLATE = 256
CHARSMAP = "precompiled_charsmap"


class Wrong(ValueError):
    """The text says which field has which value and what is allowed."""


def check_part(part: Any, name: str) -> list[str]:
    """Raise Wrong if a part is not to be trusted; the patterns in it that may take any time."""
    growth, added, patterns, steps = 1, 0, [], 0
    for where, value in _objects(part, name):
        steps += "type" in value
        if steps > MAX_STEPS:
            raise Wrong(f"{name} has more than {MAX_STEPS} steps")
        if (pattern := _pattern(value, where)) is not None and not plain(pattern):
            patterns.append(pattern)
        kind = value.get("type")
        if isinstance(kind, str) and kind in GROWTH:
            growth *= max(1, GROWTH[kind](value, where))
        if isinstance(kind, str) and kind in CHECKS:
            added += CHECKS[kind](value, where)
    if growth > MAX_GROWTH:
        raise Wrong(
            f"{name} can make a text {growth} times as long; at most {MAX_GROWTH} times are allowed"
        )
    if added > MAX_ADDED:
        raise Wrong(
            f"{name} adds {added} bytes or tokens to every text; at most {MAX_ADDED} are allowed"
        )
    return patterns


def _objects(part: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object in it with its place, in order; all values in it are of bounded size."""
    stack, seen = [(name, part, 0)], 0
    while stack:
        where, value, depth = stack.pop()
        seen += 1
        if seen > MAX_VALUES:
            raise Wrong(f"{name} has more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise Wrong(f"{name} is nested more than {MAX_DEPTH} levels deep")
        if isinstance(value, dict):
            yield where, value
            inner = [(f"{where}.{key[:60]}", item) for key, item in value.items()]
        elif isinstance(value, list):
            inner = [(f"{where}[{number}]", item) for number, item in enumerate(value[:MAX_VALUES])]
        else:
            inner = []
            _check_scalar(value, where)
        if isinstance(value, list) and len(value) > MAX_VALUES:
            raise Wrong(f"{where} has {len(value)} values; at most {MAX_VALUES} are read")
        stack += [(place, item, depth + 1) for place, item in reversed(inner)]


def _check_scalar(value: Any, where: str) -> None:
    if isinstance(value, str) and len(value) > MAX_STRING and not where.endswith(CHARSMAP):
        raise Wrong(f"{where} has {len(value)} characters; at most {MAX_STRING} are read")
    if isinstance(value, int | float) and not -MAX_NUMBER < value < MAX_NUMBER:
        raise Wrong(f"{where} is {value!r:.60}; expected a number below {MAX_NUMBER}")


def _pattern(value: Mapping[str, Any], where: str) -> str | None:
    """The regular expression of a step, None if it has none."""
    found = value.get("Regex")
    if not isinstance(found, str):
        return None
    if len(found) > MAX_PATTERN:
        raise Wrong(f"{where}.Regex has {len(found)} characters; at most {MAX_PATTERN} are read")
    return found


def _bytes(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else 0


def _replaced(value: Mapping[str, Any], _: str) -> int:
    """Bytes put in the place of one."""
    pattern = value.get("pattern")
    text = pattern.get("String") if isinstance(pattern, dict) else pattern
    return math.ceil(_bytes(value.get("content")) / max(1, _bytes(text)))


def _charsmap(value: Mapping[str, Any], where: str) -> int:
    from .charsmap import longest_text  # here: NumPy comes with it

    try:
        return longest_text(str(value.get(CHARSMAP) or ""))
    except ValueError as error:
        raise Wrong(f"{where}.{CHARSMAP}: {error}") from None


def _prepended(value: Mapping[str, Any], _: str) -> int:
    return _bytes(value.get("prepend"))


def _fixed_length(value: Mapping[str, Any], where: str) -> int:
    length = value.get("length", 1)
    if type(length) is not int or length < 1:
        raise Wrong(f"{where}.length is {length!r:.60}; expected a whole number from 1 on")
    return 0


def _template(value: Mapping[str, Any], where: str) -> int:
    """Tokens that it adds; a text is in it once, and each of a pair."""
    special = value.get("special_tokens")
    special = special if isinstance(special, dict) else {}
    most = 0
    for name, allowed in (("single", 1), ("pair", 2)):
        pieces = value.get(name)
        pieces = pieces if isinstance(pieces, list) else []
        if len(pieces) > MAX_TEMPLATE:
            raise Wrong(f"{where}.{name} has {len(pieces)} pieces; at most {MAX_TEMPLATE} are read")
        texts = [piece for piece in pieces if isinstance(piece, dict) and "Sequence" in piece]
        if len(texts) > allowed:
            raise Wrong(
                f"{where}.{name} has a text {len(texts)} times; at most {allowed} are allowed"
            )
        most = max(most, sum(_added(piece, special, where) for piece in pieces))
    return most


def _added(piece: Any, special: Mapping[str, Any], where: str) -> int:
    named = piece.get("SpecialToken") if isinstance(piece, dict) else None
    name = str(named.get("id")) if isinstance(named, dict) else ""
    if isinstance(named, dict) and name not in special:
        raise Wrong(f"{where} uses the token {name[:60]!r}, which its special_tokens do not have")
    token = special.get(name)
    ids = token.get("ids") if isinstance(token, dict) else None
    return len(ids) if isinstance(ids, list) else 1


GROWTH: Mapping[str, Callable[[Mapping[str, Any], str], int]] = {
    "Replace": _replaced,
    "Precompiled": _charsmap,
}
"""By type: bytes that can come of one."""
CHECKS: Mapping[str, Callable[[Mapping[str, Any], str], int]] = {
    "Prepend": _prepended,
    "FixedLength": _fixed_length,
    "TemplateProcessing": _template,
}
"""By type: what is added to every text."""
