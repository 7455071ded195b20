"""Reading JSON from a model's directory: bounded in size and depth, every failure a CheckpointError."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dovetail.errors import CheckpointError

MAX_JSON_BYTES = 64 << 20
MAX_TEXT_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_VALUES = 4 << 20
"""Of a file: each takes up to a hundred bytes of memory, and three of the file."""


def read_text(path: Path, *, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """A file as UTF-8; CheckpointError where it is missing, unreadable, too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > max_bytes:
        raise CheckpointError(f"{path} is larger than the {max_bytes} bytes such a file may have")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8: byte {error.start} is wrong") from None


def read_object(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> Mapping[str, Any]:
    """The JSON object in a file."""
    return parse_object(read_text(path, max_bytes=max_bytes), str(path))


def parse_object(text: str, where: str) -> Mapping[str, Any]:
    """The JSON object in a text; `where` names it in errors. A key given twice is refused."""
    values = (
        text.count(",") + text.count("[") + text.count("{")
    )  # those in strings too: more than there are
    if values > MAX_VALUES:
        raise CheckpointError(f"{where} has {values} values or more; at most {MAX_VALUES} are read")
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise CheckpointError(
            f"{where} is nested too deeply; at most {MAX_DEPTH} levels are read"
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{where} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a JSON {_kind(value)}, not an object")
    if _deeper_than(value, MAX_DEPTH):
        raise CheckpointError(f"{where} is nested more than {MAX_DEPTH} levels deep")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:200]!r} is there twice")
    return result


def _deeper_than(value: Any, levels: int) -> bool:
    """Whether containers are nested more than so many levels; never recursive itself."""
    layer = [value]
    for _ in range(levels + 1):
        inner: list[Any] = []
        for item in layer:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        layer = [item for item in inner if isinstance(item, dict | list)]
        if not layer:
            return False
    return True


def _kind(value: object) -> str:
    names = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
