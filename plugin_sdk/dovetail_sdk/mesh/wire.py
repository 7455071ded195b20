"""What the processes of a mesh tell each other, as bytes: msgpack with the kind of everything written beside it, no pickle.

Containers, arrays, and the records and errors of the contract can be told, and nothing else can be made from bytes.
"""

from __future__ import annotations

import dataclasses
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any

import dovetail.errors
import dovetail.graph
import dovetail.platform
import ml_dtypes
import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
PLAIN = (bool, int, float, str, bytes, type(None))


class NotTold(TypeError):
    """A value of a kind that is not told between processes."""


def _records() -> Iterator[type[Any]]:
    """The data classes of the contract and of graphs."""
    names = [m.name for m in pkgutil.walk_packages(dovetail.graph.__path__, "dovetail.graph.")]
    for name in ("dovetail.platform", *names):
        for value in vars(import_module(name)).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value):
                yield value


def _errors() -> Iterator[type[Exception]]:
    yield ValueError
    for value in vars(dovetail.errors).values():
        if isinstance(value, type) and issubclass(value, dovetail.errors.DovetailError):
            yield value


RECORDS = {f"{record.__module__}.{record.__qualname__}": record for record in _records()}
FIELDS = {
    record: tuple(field.name for field in dataclasses.fields(record) if field.init)
    for record in RECORDS.values()
}
NAMES = {record: name for name, record in RECORDS.items()}
ERRORS = {error.__name__: error for error in _errors()}
MADE: dict[str, Callable[[list[Any]], Any]] = {
    "list": lambda parts: parts,
    "tuple": tuple,
    "set": frozenset,
    "dict": lambda parts: dict(zip(parts[::2], parts[1::2], strict=True)),
    "mapping": lambda parts: MappingProxyType(dict(zip(parts[::2], parts[1::2], strict=True))),
}


def encode(message: Any, arrays: list[Array] | None = None) -> bytes:
    """A message as bytes; its arrays are left to the caller where `arrays` is given. Raises NotTold."""
    return msgspec.msgpack.encode(_told(message, arrays))


def decode(data: bytes, buffers: Sequence[memoryview] = ()) -> Any:
    """The message. buffers: the bytes of the arrays that were left out, in order; they are read in place."""
    return _made(msgspec.msgpack.decode(data), buffers)


def _told(value: Any, arrays: list[Array] | None) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return value
    if (name := NAMES.get(kind)) is not None:
        return ["record", name, *(_told(getattr(value, f), arrays) for f in FIELDS[kind])]
    if isinstance(value, np.ndarray):
        return _told_array(value, arrays)
    if isinstance(value, np.generic):
        return ["number", value.dtype.name, value.tobytes()]
    if kind in (list, tuple):
        return [kind.__name__, *(_told(part, arrays) for part in value)]
    if kind in (dict, MappingProxyType):
        pairs = (_told(part, arrays) for pair in value.items() for part in pair)
        return ["dict" if kind is dict else "mapping", *pairs]
    if kind in (set, frozenset):
        return ["set", *(_told(part, arrays) for part in value)]
    if isinstance(value, np.dtype):
        return ["dtype", value.name]
    if ERRORS.get(kind.__name__) is kind:
        return ["error", kind.__name__, str(value)]
    raise NotTold(f"a {kind.__name__} is not told to the processes of a mesh")


def _told_array(value: Array, arrays: list[Array] | None) -> list[Any]:
    whole = np.ascontiguousarray(value)
    if arrays is None:
        return ["array", value.dtype.name, value.shape, whole.tobytes()]
    arrays.append(whole)
    return ["array", value.dtype.name, value.shape, len(arrays) - 1]


def _made(told: Any, buffers: Sequence[memoryview]) -> Any:
    if not isinstance(told, list):
        return told
    kind, *parts = told
    if kind == "array":
        return _made_array(buffers, *parts)
    if kind == "record":
        record = RECORDS[parts[0]]
        values = [_made(part, buffers) for part in parts[1:]]
        return record(**dict(zip(FIELDS[record], values, strict=True)))
    if kind == "number":
        return np.frombuffer(parts[1], _dtype(parts[0]))[0]
    if kind == "dtype":
        return _dtype(parts[0])
    if kind == "error":
        return ERRORS[parts[0]](parts[1])
    return MADE[kind]([_made(part, buffers) for part in parts])


def _made_array(
    buffers: Sequence[memoryview], name: str, shape: list[int], data: bytes | int
) -> Array:
    raw = buffers[data] if isinstance(data, int) else bytearray(data)
    if 0 in shape:
        return np.empty(shape, _dtype(name))
    return np.frombuffer(raw, _dtype(name)).reshape(shape)


def _dtype(name: str) -> np.dtype[Any]:
    """NumPy's, or one of ml_dtypes'."""
    return np.dtype(getattr(ml_dtypes, name, name))
