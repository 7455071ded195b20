"""JSON schemas as far as they can be enforced: what cannot be is refused by name and place, what says nothing is left out.

    enforced     type enum const anyOf allOf $ref $defs definitions, oneOf whose alternatives exclude each other
                 properties required additionalProperties patternProperties maxProperties, minProperties up to 1 or to
                 what is required
                 items prefixItems additionalItems minItems maxItems
                 minLength maxLength pattern format
                 minimum maximum exclusiveMinimum exclusiveMaximum multipleOf
    refused      REFUSED below, formats other than FORMATS, and what llguidance finds that it cannot do
    no meaning   annotations (ANNOTATIONS) and words that no draft knows

Properties come in the order in which the schema names them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from dovetail.errors import InvalidParameter

Schema = dict[str, Any]

ONE = ("additionalProperties", "additionalItems")
MANY = ("allOf", "anyOf", "oneOf", "prefixItems")
NAMED = ("properties", "patternProperties", "$defs", "definitions")
LATER = ("$defs", "definitions")
PLAIN = (
    "type",
    "enum",
    "const",
    "$ref",
    "required",
    "minProperties",
    "maxProperties",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
)
IDENTITY = ("$schema", "$id", "id", "$anchor")
ANNOTATIONS = (
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
    "contentMediaType",
    "contentEncoding",
    "contentSchema",
    "$vocabulary",
)
# word -> values that ask for nothing
REFUSED: dict[str, tuple[Any, ...]] = {
    "not": (False,),
    "if": (),
    "then": (),
    "else": (),
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
    "dependencies": ({},),
    "contains": (),
    "minContains": (),
    "maxContains": (),
    "propertyNames": (True, {}),
    "uniqueItems": (False,),
    "unevaluatedItems": (True, {}),
    "unevaluatedProperties": (True, {}),
    "$dynamicRef": (),
    "$dynamicAnchor": (),
    "$recursiveRef": (),
    "$recursiveAnchor": (False,),
}
FORMATS = (
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "uri",
)
HINTS = ("password",)
"""Formats that say how to show a value, not what it is."""
COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
MOST = 100_000
MOST_MULTIPLE = 10_000
MOST_PATTERNS = 64
EXACT = 2**53


def enforceable(schema: Schema) -> Schema:
    """The schema with only what is enforced. Raises InvalidParameter for what cannot be, with its place."""
    kept = _kept(schema, "")
    for name in LATER:
        given = schema.get(name)
        if isinstance(given, dict):
            kept[name] = given
    return _with_reachable(kept)


def _with_reachable(root: Schema) -> Schema:
    """Check the definitions that are referred to, and leave out the others."""
    waiting = {name: root.pop(name) for name in LATER if name in root}
    found: dict[str, Schema] = {name: {} for name in waiting}
    frontier: list[Any] = [root]
    while frontier:
        for place, name in _references(frontier.pop()):
            if place in waiting and name in waiting[place] and name not in found[place]:
                found[place][name] = _sub(waiting[place][name], f"/{place}/{_escaped(name)}")
                frontier.append(found[place][name])
    for place, definitions in found.items():
        root[place] = definitions
    _inline_alternatives(root, root)
    return root


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """(place, name) of the definitions that a checked schema refers to."""
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str) and reference.startswith("#/"):
                parts = reference[2:].split("/")
                if len(parts) >= 2:
                    yield parts[0], _unescaped(parts[1])
            stack += value.values()
        elif isinstance(value, list):
            stack += value


def _inline_alternatives(value: Any, root: Schema) -> None:
    """Put definitions in the place of references in oneOf: only there can it be seen that they exclude each other."""
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if isinstance(options := value.get("oneOf"), list):
                value["oneOf"] = [_inlined(option, root) for option in options]
            stack += [inner for word, inner in value.items() if word not in ("enum", "const")]
        elif isinstance(value, list):
            stack += value


def _inlined(option: Any, root: Schema) -> Any:
    if not isinstance(option, dict) or list(option) != ["$ref"]:
        return option
    for place in LATER:
        for name, target in root.get(place, {}).items():
            if option["$ref"] == f"#/{place}/{_escaped(name)}":
                return dict(target) if isinstance(target, dict) else target
    return option


def _kept(schema: Schema, at: str) -> Schema:
    """One schema object; its definitions are left to whoever refers to them."""
    kept: Schema = {}
    for word, value in schema.items():
        here = f"{at}/{_escaped(word)}"
        if word in REFUSED:
            if not any(
                value is h or (value == h and type(value) is type(h)) for h in REFUSED[word]
            ):
                raise _refusal(here, f"{word} cannot be enforced; leave it out")
        elif word in PLAIN or word in IDENTITY:
            _check(word, value, schema, here)
            if word != "format" or value not in HINTS:
                kept[word] = value
        elif word in ONE:
            kept[word] = _sub(value, here)
        elif word == "items":
            kept[word] = _subs(value, here) if isinstance(value, list) else _sub(value, here)
        elif word in MANY:
            kept[word] = _subs(value, here)
        elif word in NAMED and (at or word not in LATER):
            if isinstance(value, dict):
                _check(word, value, schema, here)
            kept[word] = _named(value, here)
    return kept


def _sub(value: Any, at: str) -> Any:
    if isinstance(value, bool):
        return value
    if not isinstance(value, dict):
        raise _refusal(at, "a schema is an object, true or false")
    return _kept(value, at)


def _subs(value: Any, at: str) -> list[Any]:
    if not isinstance(value, list):
        raise _refusal(at, "a list of schemas is wanted")
    return [_sub(each, f"{at}/{index}") for index, each in enumerate(value)]


def _named(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refusal(at, "an object of schemas is wanted")
    return {name: _sub(each, f"{at}/{_escaped(name)}") for name, each in value.items()}


def _check(word: str, value: Any, schema: Schema, at: str) -> None:
    """What llguidance would take in another sense, or take too long over."""
    if word == "format" and value not in FORMATS and value not in HINTS and _may_be_text(schema):
        raise _refusal(
            at,
            f"the format {str(value)[:100]!r} cannot be enforced; there are {', '.join(FORMATS)}",
        )
    if word == "multipleOf" and isinstance(value, int | float) and _digits(value) > MOST_MULTIPLE:
        raise _refusal(
            at, f"{word} is {value}; at most {MOST_MULTIPLE} and few digits can be enforced"
        )
    if word == "patternProperties" and len(value) > MOST_PATTERNS:
        raise _refusal(
            at, f"{word} has {len(value)} patterns; at most {MOST_PATTERNS} can be enforced"
        )
    if word in COUNTS and isinstance(value, int) and value > MOST:
        raise _refusal(at, f"{word} is {value}; at most {MOST} can be enforced")
    if word == "minProperties" and isinstance(value, int) and value > 1:
        required = schema.get("required")
        if not isinstance(required, list) or len(set(map(str, required))) < value:
            raise _refusal(
                at, f"{word} above 1 cannot be enforced beyond what is required: keys may repeat"
            )
    if word in ("enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        for number in _numbers(value):
            if abs(number) > EXACT:
                raise _refusal(at, f"{number} cannot be enforced exactly; at most 2**53 can")


def _may_be_text(schema: Schema) -> bool:
    kinds = schema.get("type", "string")
    return kinds == "string" or (isinstance(kinds, list) and "string" in kinds)


def _numbers(value: Any) -> Iterator[int | float]:
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield value
        elif isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, list):
            stack += value


def _digits(value: int | float) -> int:
    """The number without its point: 0.25 is 25."""
    _, digits, _ = Decimal(str(value)).normalize().as_tuple()
    return int("".join(map(str, digits)))


def _escaped(word: str) -> str:
    return word.replace("~", "~0").replace("/", "~1")


def _unescaped(word: str) -> str:
    return word.replace("~1", "/").replace("~0", "~")


def _refusal(at: str, why: str) -> InvalidParameter:
    return InvalidParameter(f"at {json.dumps(at or '/', ensure_ascii=False)[:200]}: {why}")
