"""Forms of a reply that several dialects ask for, as grammars."""

from __future__ import annotations

import json
from typing import Any

from dovetail.errors import InvalidParameter
from dovetail.structured import Grammar

from .limits import check_nesting


def json_schema(value: Any, where: str) -> Grammar:
    """JSON that fits a schema; where: the request's field. Raises InvalidParameter if it is no schema."""
    if not isinstance(value, dict | bool):
        raise InvalidParameter(f"{where} must be a JSON schema, an object", param=where)
    check_nesting(where, value)
    return Grammar("json_schema", json.dumps(value, ensure_ascii=False), field=where)


def schema_text(value: Any, where: str) -> Grammar:
    """The same, of a schema that may be written as text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidParameter(f"{where} is text that is not JSON", param=where) from None
    return json_schema(value, where)
