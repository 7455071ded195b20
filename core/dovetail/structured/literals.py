"""Texts that a grammar may force: a choice, the values and names that a JSON schema gives, what Lark and a regex quote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .grammar import Grammar
from .source import SCHEMA

QUOTED = re.compile(r'"((?:\\.|[^"\\\n])*)"|/((?:\\.|[^/\\\n])+)/')
ESCAPED = re.compile(r"\\(.)")


def literals(grammar: Grammar) -> Iterator[str]:
    """Of a grammar that has been read before."""
    if grammar.kind == "choice":
        yield from json.loads(grammar.text)
    elif grammar.kind == "json_schema":
        yield from _given(json.loads(grammar.text))
    elif grammar.kind == "regex":
        yield ESCAPED.sub(r"\1", grammar.text)
    elif grammar.kind in ("lark", "gbnf"):
        for quoted in QUOTED.finditer(grammar.text):
            yield ESCAPED.sub(r"\1", quoted[1] or quoted[2] or "")
        for found in SCHEMA.finditer(grammar.text):
            yield from _given(json.JSONDecoder().raw_decode(grammar.text, found.end())[0])


def _given(schema: Any) -> Iterator[str]:
    """Strings among constants, and names of properties."""
    stack = [(schema, False)]
    while stack:
        value, constant = stack.pop()
        if isinstance(value, str) and constant:
            yield value
        elif isinstance(value, list):
            stack += ((inner, constant) for inner in value)
        elif isinstance(value, dict):
            for word, inner in value.items():
                if constant:
                    yield word
                elif word == "properties" and isinstance(inner, dict):
                    yield from inner
                stack.append((inner, constant or word in ("enum", "const")))
