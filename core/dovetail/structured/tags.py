"""Structural tags: free text in which certain structures are kept to wherever one has begun. vLLM's form of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dovetail.errors import InvalidParameter

from .lark import json_value, literal
from .schema import enforceable

MAX_STRUCTURES = 256
KNOWN = {"type", "structures", "triggers"}


def tags(given: Any, tokens: Mapping[str, int], *, space: str | None) -> str:
    """Lark for {"triggers": [...], "structures": [{"begin", "schema", "end"}]}. Raises InvalidParameter.

    As soon as the text holds a trigger, one of the structures that begin with it follows, whole.
    """
    if not isinstance(given, dict):
        raise InvalidParameter("the structural tag must be an object")
    unknown = sorted(set(given) - KNOWN)
    if unknown:
        raise InvalidParameter(
            f"the structural tag has {unknown[0][:100]!r}, which is not supported; there are triggers and structures"
        )
    structures, triggers = given.get("structures"), given.get("triggers")
    if not isinstance(structures, list) or not 0 < len(structures) <= MAX_STRUCTURES:
        raise InvalidParameter(f"structures must be a list of 1 to {MAX_STRUCTURES} objects")
    if not isinstance(triggers, list) or not all(isinstance(t, str) and t for t in triggers):
        raise InvalidParameter("triggers must be a list of strings that are not empty")
    names = " | ".join(f"tag_{index}" for index in range(len(structures)))
    rules = [_tag(index, each, triggers, tokens, space) for index, each in enumerate(structures)]
    return "\n".join([f"start: ({names})* TEXT", "TEXT: /(.|\\n)*/", *rules])


def _tag(
    index: int, given: Any, triggers: list[str], tokens: Mapping[str, int], space: str | None
) -> str:
    """The rules of one structure."""
    begin, end, schema = (_field(given, index, name) for name in ("begin", "end", "schema"))
    trigger = next((t for t in triggers if begin.startswith(t)), None)
    if trigger is None:
        raise InvalidParameter(
            f"structures[{index}].begin is {begin[:100]!r}; it must begin with one of the triggers"
        )
    if isinstance(schema, dict):
        schema = enforceable(schema)
    rest = literal(begin[len(trigger) :], tokens)
    body = f"{rest} {json_value(schema, space=space)} {literal(end, tokens)}"
    if trigger in tokens:
        return f"tag_{index}: TEXT {literal(trigger, tokens)} {body}"
    return f"trigger_{index}[lazy]: TEXT {literal(trigger)}\ntag_{index}: trigger_{index} {body}"


def _field(given: Any, index: int, name: str) -> Any:
    value = given.get(name) if isinstance(given, dict) else None
    wanted = (dict, bool) if name == "schema" else (str,)
    if not isinstance(value, wanted):
        raise InvalidParameter(
            f"structures[{index}].{name} must be {'a JSON schema' if name == 'schema' else 'text'}"
        )
    return value
