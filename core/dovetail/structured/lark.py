"""Pieces of Lark, for whoever writes a grammar around literal text and JSON.

start: <[151657]> "\\n" %json {"type": "object"} "\\n" <[151658]>
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

ONE_SPACE = {"item_separator": ", ?", "key_separator": ": ?"}


def literal(text: str, tokens: Mapping[str, int] | None = None) -> str:
    """Lark for exactly this text; empty for empty text.

    tokens  texts that are single tokens (a model's tags) -> their ids: where they occur, that token is meant
    """
    if not tokens:
        return _quoted(text)
    pattern = "|".join(re.escape(t) for t in sorted(tokens, key=len, reverse=True))
    parts, at = [], 0
    for found in re.finditer(pattern, text):
        parts += [_quoted(text[at : found.start()]), f"<[{tokens[found[0]]}]>"]
        at = found.end()
    return " ".join(part for part in [*parts, _quoted(text[at:])] if part)


def json_value(schema: Mapping[str, Any] | bool, *, space: str | None = None) -> str:
    """Lark for JSON that a schema allows."""
    return "%json " + json.dumps(with_space(schema, space=space))


def with_space(schema: Mapping[str, Any] | bool, *, space: str | None) -> dict[str, Any]:
    """The schema, and how much white space may stand between the tokens of its JSON."""
    body = {"not": {}} if schema is False else {} if schema is True else dict(schema)
    how: dict[str, Any] = {"whitespace_flexible": False}
    if space is None:
        how |= ONE_SPACE
    elif space:
        how["whitespace_pattern"] = space
    return {**body, "x-guidance": how}


def _quoted(text: str) -> str:
    return json.dumps(text) if text else ""
