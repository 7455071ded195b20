"""A Grammar in the language that llguidance compiles; what cannot be said in it is refused here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dovetail.errors import InvalidParameter

from .grammar import KINDS, Grammar
from .lark import json_value, literal
from .schema import enforceable
from .tags import tags

MAX_BYTES = 1 << 18
MAX_CHOICES = 4096
MAX_COLONS = 16_384
SCHEMA = re.compile(r"%json(?:\s|//[^\n]*\n|#[^\n]*\n)*(?=\{)")
SPACING = {"whitespace_flexible", "whitespace_pattern", "item_separator", "key_separator"}


def source_of(grammar: Grammar, tokens: Mapping[str, int]) -> str:
    """Lark. Raises InvalidParameter.

    tokens  the model's tags that are single tokens, and their ids
    """
    source = _framed(grammar, tokens)
    return f"{grammar.frame}\nanswer: %lark {{\n{source}\n}}\n" if grammar.frame else source


def _framed(grammar: Grammar, tokens: Mapping[str, int]) -> str:
    """Lark of what was asked, without its frame."""
    if len(grammar.text) > MAX_BYTES:
        raise InvalidParameter(
            f"the {grammar.kind} has {len(grammar.text)} characters; at most {MAX_BYTES} are allowed"
        )
    match grammar.kind:
        case "json_object":
            return "start: " + json_value({"type": "object"}, space=grammar.space)
        case "json_schema":
            return "start: " + json_value(_schema(grammar.text), space=grammar.space)
        case "regex":
            return "start: " + _regex(grammar.text)
        case "choice":
            return "start: CHOICE\nCHOICE: " + _choice(grammar.text)
        case "lark":
            return _lark(grammar.text)
        case "gbnf":
            return _lark(_gbnf(grammar.text))
        case "structural_tag":
            return tags(_parsed(grammar.text, "the structural tag"), tokens, space=grammar.space)
        case kind:
            raise InvalidParameter(
                f"there are no grammars of the kind {kind}; there are {', '.join(KINDS)}"
            )


def _schema(text: str) -> dict[str, Any] | bool:
    schema = _parsed(text, "the JSON schema")
    if isinstance(schema, bool):
        if not schema:
            raise InvalidParameter("the JSON schema is false, which nothing satisfies")
        return True
    if not isinstance(schema, dict):
        raise InvalidParameter("the JSON schema must be an object, true or false")
    return enforceable(schema)


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"{what} is not JSON: {error}") from None


def _regex(text: str) -> str:
    """A regex between slashes; digits, words and their complements are ASCII's, as in a JSON schema's patterns."""
    if not text:
        raise InvalidParameter("the regex is empty")
    import llguidance

    return f"/{llguidance.regex_to_lark(text, 'dw')}/"


def _gbnf(text: str) -> str:
    from llguidance.gbnf_to_lark import gbnf_to_lark

    try:
        converted: str = gbnf_to_lark(text)
    except Exception as error:  # it raises that and nothing narrower
        raise InvalidParameter(f"the GBNF grammar cannot be read: {str(error)[:500]}") from None
    return converted


def _lark(text: str) -> str:
    if text.count(":") > MAX_COLONS:
        raise InvalidParameter(
            f"the grammar has more than {MAX_COLONS} colons; at most so many rules are allowed"
        )
    if text.lstrip().startswith("{"):
        raise InvalidParameter("the grammar must be Lark or GBNF, not a JSON object")
    for found in SCHEMA.finditer(text):
        _check_within(text, found.end())
    return text


def _check_within(text: str, at: int) -> None:
    """Raise InvalidParameter for a schema, within Lark, that cannot be enforced."""
    try:
        schema, _ = json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"what follows %json in the grammar is not JSON: {error}") from None
    options = schema.pop("x-guidance", None) or {}
    if not isinstance(options, dict) or not options.keys() <= SPACING:
        raise InvalidParameter(
            f"x-guidance in the grammar can hold {', '.join(sorted(SPACING))} and nothing else"
        )
    enforceable(schema)


def _choice(text: str) -> str:
    options = _parsed(text, "the choice")
    if not isinstance(options, list) or not options or not all(isinstance(o, str) for o in options):
        raise InvalidParameter("the choice must be a list of at least one string")
    if len(options) > MAX_CHOICES:
        raise InvalidParameter(
            f"the choice has {len(options)} strings; at most {MAX_CHOICES} are allowed"
        )
    if not all(options):
        raise InvalidParameter("the choice holds an empty string, which no token spells")
    return " | ".join(literal(option) for option in options)
