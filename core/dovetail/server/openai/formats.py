"""The fields that ask for structured output -> a Grammar: OpenAI's response_format, vLLM's structured_outputs and guided_*."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.server.limits import check_nesting
from dovetail.structured import Grammar

from .schema import SamplingFields

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MAX_WHITESPACE_PATTERN = 256
GUIDED = ("json", "regex", "choice", "grammar", "json_object")
FORMATS = "text, json_object, json_schema and structural_tag"
Space = str | None


def grammar_of(asked: SamplingFields) -> Grammar | None:
    """What a request says its reply must look like; None where it says nothing. Raises RequestError."""
    given: dict[str, Grammar] = {}
    if (grammar := of_format(asked.response_format)) is not None:
        given["response_format"] = grammar
    given |= _of_structured(asked.structured_outputs)
    given |= _of_guided(asked)
    if len(given) > 1:
        raise InvalidParameter(
            f"{' and '.join(given)} are given; a reply has one form, so give one of them",
            param=list(given)[1],
        )
    return next(iter(given.values()), None)


# ---------------------------------------------------------------------------------------------- response_format


def of_format(value: Any) -> Grammar | None:
    """Of response_format. Raises RequestError."""
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    match kind:
        case "text":
            return None
        case "json_object":
            return Grammar("json_object", field="response_format")
        case "json_schema":
            return _named_schema(value.get("json_schema"))
        case "structural_tag":
            return _structural_tag(value, "response_format")
    raise InvalidParameter(
        f"response_format.type can be {FORMATS}, not {str(kind if kind is not None else value)[:100]!r}",
        param="response_format",
    )


def _named_schema(value: Any) -> Grammar:
    """{"name", "schema", "strict", "description"}. The schema is kept to whether strict or not."""
    where = "response_format.json_schema"
    if not isinstance(value, dict):
        raise InvalidParameter(f"{where} must be an object with name and schema", param=where)
    name = value.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidParameter(
            f"{where}.name must be 1 to 64 letters, digits, _ or -, not {str(name)[:100]!r}",
            param=f"{where}.name",
        )
    if not isinstance(value.get("strict"), bool | None):
        raise InvalidParameter(f"{where}.strict must be true or false", param=f"{where}.strict")
    schema = value.get("schema")
    if schema is None:
        schema = {}
    return _schema(schema, f"{where}.schema")


# ---------------------------------------------------------------------------------------------- vLLM's


def _of_structured(value: Any) -> dict[str, Grammar]:
    """structured_outputs: one of the forms, and options of white space."""
    where = "structured_outputs"
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidParameter(f"{where} must be an object", param=where)
    options = {
        name: value[name]
        for name in value
        if name not in _TRANSLATE and value[name] not in (None, False)
    }
    space = _space(options.pop("whitespace_pattern", None), f"{where}.whitespace_pattern")
    if options.pop("disable_any_whitespace", None):
        space = ""
    if options:
        name = next(iter(options))
        raise UnsupportedParameter(
            f"{where}.{name[:100]} is not supported; there are {', '.join(_TRANSLATE)}, whitespace_pattern and "
            "disable_any_whitespace",
            param=f"{where}.{name[:100]}",
        )
    return _translated(value, where + ".", space)


def _of_guided(asked: SamplingFields) -> dict[str, Grammar]:
    """guided_json and its like, the names that vLLM used before."""
    where = "guided_whitespace_pattern"
    space = _space(asked.guided_whitespace_pattern, where)
    return _translated(
        {name: getattr(asked, f"guided_{name}") for name in GUIDED}, "guided_", space
    )


def _translated(given: Mapping[str, Any], prefix: str, space: Space) -> dict[str, Grammar]:
    found = {}
    for name, translate in _TRANSLATE.items():
        if given.get(name) is not None:
            grammar = translate(given[name], f"{prefix}{name}", space)
            if grammar is not None:
                found[f"{prefix}{name}"] = grammar
    return found


def _space(value: Any, where: str) -> Space:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_WHITESPACE_PATTERN:
        raise InvalidParameter(
            f"{where} must be a regex of at most {MAX_WHITESPACE_PATTERN} characters", param=where
        )
    return value


def _json(value: Any, where: str, space: Space) -> Grammar:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidParameter(f"{where} is text that is not JSON", param=where) from None
    return _schema(value, where, space)


def _schema(value: Any, where: str, space: Space = None) -> Grammar:
    if not isinstance(value, dict | bool):
        raise InvalidParameter(f"{where} must be a JSON schema, an object", param=where)
    check_nesting(where, value)
    return Grammar("json_schema", json.dumps(value, ensure_ascii=False), space, where)


def _json_object(value: Any, where: str, space: Space) -> Grammar | None:
    if not isinstance(value, bool):
        raise InvalidParameter(f"{where} must be true or false", param=where)
    return Grammar("json_object", "", space, where) if value else None


def _regex(value: Any, where: str, space: Space) -> Grammar:
    return Grammar("regex", _text(value, where), field=where)


def _choice(value: Any, where: str, space: Space) -> Grammar:
    if not isinstance(value, list) or not all(isinstance(option, str) for option in value):
        raise InvalidParameter(f"{where} must be a list of strings", param=where)
    return Grammar("choice", json.dumps(value, ensure_ascii=False), field=where)


def _grammar(value: Any, where: str, space: Space) -> Grammar:
    """Lark, or GBNF: its rules alone are written with ::=."""
    text = _text(value, where)
    return Grammar("gbnf" if "::=" in text else "lark", text, field=where)


def _tag(value: Any, where: str, space: Space) -> Grammar:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidParameter(f"{where} is text that is not JSON", param=where) from None
    return _structural_tag(value, where, space)


def _structural_tag(value: Any, where: str, space: Space = None) -> Grammar:
    if not isinstance(value, dict):
        raise InvalidParameter(f"{where} must be an object", param=where)
    check_nesting(where, value)
    return Grammar("structural_tag", json.dumps(value, ensure_ascii=False), space, where)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidParameter(f"{where} must be text, and not empty", param=where)
    return value


_TRANSLATE: Mapping[str, Callable[[Any, str, Space], Grammar | None]] = {
    "json": _json,
    "regex": _regex,
    "choice": _choice,
    "grammar": _grammar,
    "json_object": _json_object,
    "structural_tag": _tag,
}
