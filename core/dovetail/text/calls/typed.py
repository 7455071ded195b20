"""Arguments that a format writes as bare text -> JSON, by the type that the tool's schema gives them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from .jsontext import quoted

ALL = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})
MAX_DEPTH = 16  # of references and combinations that are followed
MAX_SCHEMAS = 500
Schema = Mapping[str, Any]


def schema_of(parameters: Schema, name: str) -> tuple[Any, Schema]:
    """The schema of one argument, {} if there is none; and that of them all, for its references."""
    properties = parameters.get("properties")
    found = properties.get(name) if isinstance(properties, Mapping) else None
    return ({} if found is None else found), parameters


def types_of(schema: Any, root: Schema) -> frozenset[str]:
    """The JSON types that a schema allows, as far as its types, enumerations, combinations and references tell."""
    return _Types(root).of(schema)


class _Types:
    """Looks at no more than MAX_SCHEMAS parts of a schema: references may go round in circles."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = MAX_SCHEMAS

    def of(self, schema: Any, depth: int = 0) -> frozenset[str]:
        """What a part of it allows; everything, where nothing can be told."""
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH or self._left < 0:
            return ALL
        allowed = _declared(schema)
        if isinstance(reference := schema.get("$ref"), str):
            allowed &= self.of(resolved(reference, self._root), depth + 1)
        for word in ("anyOf", "oneOf"):
            if options := listed(schema, word):
                allowed &= frozenset().union(*(self.of(o, depth + 1) for o in options))
        for part in listed(schema, "allOf"):
            allowed &= self.of(part, depth + 1)
        return allowed


def listed(schema: Any, word: str) -> list[Any]:
    """The list under a keyword; empty if there is none."""
    value = schema.get(word) if isinstance(schema, Mapping) else None
    return value if isinstance(value, list) else []


def _declared(schema: Schema) -> frozenset[str]:
    """By type, enum and const."""
    kind = schema.get("type")
    named = [kind] if isinstance(kind, str) else listed(schema, "type")
    kinds = frozenset(k for k in named if isinstance(k, str)) & ALL or ALL
    if "number" in kinds:
        kinds |= {"integer"}
    if values := listed(schema, "enum"):
        kinds &= frozenset(type_of(value) for value in values)
    if "const" in schema:
        kinds &= {type_of(schema["const"])}
    return kinds


def resolved(reference: str, root: Schema) -> Any:
    """What a reference within the schema (#/...) points to, {} if it points nowhere."""
    found: Any = root
    for name in reference.removeprefix("#").split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return {} if found is None else found


def type_of(value: Any) -> str:
    """The JSON type of a value; whole numbers are integers."""
    if value is None or isinstance(value, bool | str):
        return {type(None): "null", bool: "boolean", str: "string"}[type(value)]
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) or value.is_integer() else "number"
    return "array" if isinstance(value, list) else "object"


def is_text(schema: Any, root: Schema) -> bool:
    """Whether only a string will do: then it need not be waited for."""
    return types_of(schema, root) == {"string"}


def to_json(text: str, schema: Any, root: Schema) -> str:
    """JSON of an argument that stands as text: of the first type that is allowed and fits, else a string.

    Python's True, False and None count, as some models write them.
    """
    allowed = types_of(schema, root)
    bare = text.strip()
    for kind, read in _READERS.items():
        if kind in allowed and (found := read(bare)) is not None:
            return found
    return quoted(text)


def _null(text: str) -> str | None:
    return "null" if text in ("null", "None") else None


def _boolean(text: str) -> str | None:
    return text.lower() if text in ("true", "false", "True", "False") else None


def _number(text: str) -> str | None:
    return text if _NUMBER.fullmatch(text) else None


def _integer(text: str) -> str | None:
    found = _NUMBER.fullmatch(text)
    whole = found and (found["whole"] == text or float(text).is_integer())
    return text if whole else None


def _value(kind: type) -> Callable[[str], str | None]:
    """JSON of an array or object, written in one way."""

    def read(text: str) -> str | None:
        try:
            value = json.loads(text, strict=False)
            return json.dumps(value, ensure_ascii=False) if isinstance(value, kind) else None
        except (ValueError, RecursionError):
            return None

    return read


_NUMBER = re.compile(r"(?P<whole>-?(?:0|[1-9]\d*))(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_READERS: dict[str, Callable[[str], str | None]] = {
    "null": _null,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "array": _value(list),
    "object": _value(dict),
}
