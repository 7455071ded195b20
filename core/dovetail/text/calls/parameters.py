"""Schemas of tools as far as a format that does not write JSON can be held to them: what it cannot is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter

from .typed import ALL, Schema, is_text, listed, resolved, to_json, type_of, types_of

_NOTES = {"title", "description", "default", "examples", "$comment", "deprecated", "$schema", "$id"}
_OBJECT = {"type", "properties", "required", "additionalProperties", "$defs", "definitions"}
_PLAIN_NAME = re.compile(r"[\w.\-]{1,256}")
MAX_REPEAT = 1 << 16


def refusal(key: str, what: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"tools: the argument {key[:100]!r} has {what}, which this model's form of calls cannot be held to; "
        'simplify its schema, or use tool_choice "auto"',
        param="tools",
    )


def plain_name(name: str, what: str) -> str:
    """A name that stands without quotes."""
    if not _PLAIN_NAME.fullmatch(name):
        raise UnsupportedParameter(
            f"tools: the name {name[:100]!r} of {'an' if what == 'argument' else 'a'} {what} has characters besides "
            "letters, digits, _, . and -; this model writes it without quotes, so a call cannot be forced",
            param="tools",
        )
    return name


def only(schema: Any, words: set[str], key: str) -> None:
    """Refuse a schema that says more than can be kept."""
    if not isinstance(schema, Mapping):
        raise refusal(key, "something else than an object for a schema")
    more = sorted(set(schema) - words - _NOTES)
    if more:
        raise refusal(key, f"{more[0][:100]} in its schema")


def closed(schema: Schema) -> Schema:
    """The schema of an object with no members but those it names, where it leaves that open: valid all the same.

    No schema at all means no arguments, as OpenAI has it.
    """
    if not schema:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    whole = {"type": "object", **schema}
    if "properties" in whole and whole.keys() <= _OBJECT | _NOTES:
        whole.setdefault("additionalProperties", False)
    return whole


def loosened(schema: Schema) -> Schema:
    """An object in which the same members may have any values, and none is required."""
    properties = schema.get("properties")
    names = properties if isinstance(properties, Mapping) else ()
    return {
        "type": "object",
        "properties": {name: {} for name in names if _PLAIN_NAME.fullmatch(name)},
        "additionalProperties": True,
    }


def arguments_of(schema: Schema) -> list[tuple[str, bool]]:
    """Names of arguments, and whether they are required."""
    only(schema, _OBJECT, "(all of them)")
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(properties, Mapping) or not (
        isinstance(required, list) and all(isinstance(name, str) for name in required)
    ):
        raise InvalidParameter(
            "tools: in the schema of an object, properties must be an object and required a list of names",
            param="tools",
        )
    needed = set(required)
    return [(name, name in needed) for name in dict.fromkeys((*properties, *required))]


def choices_of(schema: Any) -> list[Any] | None:
    """The schemas of which one holds, if that is all the schema says."""
    if not isinstance(schema, Mapping):
        return None
    words = schema.keys() - _NOTES
    if words == {"type"} and isinstance(schema["type"], list):
        return [{"type": kind} for kind in schema["type"]]
    for word in ("anyOf", "oneOf"):
        if words == {word} and isinstance(schema[word], list):
            return list(schema[word])
    return None


def options_of(schema: Any, root: Schema) -> list[Any] | None:
    """The values of an enumeration or a constant."""
    if not isinstance(schema, Mapping):
        return None
    if isinstance(reference := schema.get("$ref"), str) and len(set(schema) - _NOTES) == 1:
        schema = resolved(reference, root)
        if not isinstance(schema, Mapping) or "$ref" in schema:
            return None
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    if not isinstance(values, list):
        return None
    allowed = types_of({k: v for k, v in schema.items() if k != "enum"}, root)
    return [value for value in values if type_of(value) in allowed]


def as_text(value: Any, schema: Any, root: Schema, key: str, marker: str) -> str:
    """What the reader takes for this value."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    read = to_json(text, schema, root)
    if marker in text or json.loads(read) != value:
        raise refusal(key, f"the value {text[:100]!r}")
    return text


def plain_string(schema: Any, root: Schema, key: str) -> Schema:
    """The schema, if it is of a string alone or says nothing but types."""
    if isinstance(schema, Mapping) and isinstance(reference := schema.get("$ref"), str):
        only(schema, {"$ref"}, key)
        schema = resolved(reference, root)
    if not isinstance(schema, Mapping):
        return {}
    if is_text(schema, root):
        only(schema, {"type", "minLength", "maxLength"}, key)
        return schema
    if types_of(schema, root) != ALL or schema.keys() - _NOTES:
        for option in (schema, *listed(schema, "anyOf"), *listed(schema, "oneOf")):
            only(option, {"type", "anyOf", "oneOf"}, key)
    return {}


def length_of(schema: Schema, key: str) -> tuple[int, int | None]:
    """Least and most characters."""
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    for bound in (least, most):
        if bound is not None and not (isinstance(bound, int) and 0 <= bound <= MAX_REPEAT):
            raise refusal(key, f"a length of {str(bound)[:20]}")
    return least, most
