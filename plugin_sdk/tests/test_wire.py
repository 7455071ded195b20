"""What the processes of a mesh tell each other comes back as it was, and nothing else can be told."""

from __future__ import annotations

import os
from types import MappingProxyType

import ml_dtypes
import msgspec
import numpy as np
import pytest
from dovetail import models
from dovetail.errors import DeviceLost, OutOfMemory
from dovetail.graph import Graph, passes
from dovetail.platform import KVLayout, Memory, Shape
from dovetail_sdk.mesh.channel import make_shared_memory
from dovetail_sdk.mesh.wire import NotTold, decode, encode
from dovetail_sdk.reference import ReferencePlatform
from dovetail_sdk.testing.families import FAMILIES
from test_sharding import COMMON, batch


def same(left: object, right: object) -> bool:
    """Equal, and of the same kinds throughout; arrays by kind, shape and bytes."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        assert isinstance(right, np.ndarray)
        alike = (left.dtype, left.shape) == (right.dtype, right.shape)
        return alike and left.tobytes() == right.tobytes()
    if isinstance(left, list | tuple):
        assert isinstance(right, list | tuple)
        return len(left) == len(right) and all(map(same, left, right))
    fields = getattr(left, "__dataclass_fields__", None)
    if fields is not None:
        return all(same(getattr(left, name), getattr(right, name)) for name in fields)
    return left == right


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_graphs_come_back_as_they_were(family: str) -> None:
    graph: Graph = models.build(COMMON | FAMILIES[family], dtype="f32", max_model_len=64)
    device = ReferencePlatform().open(ReferencePlatform().probe()[:1])
    found = decode(encode(graph))
    assert same(found, graph)
    assert found.nodes == graph.nodes and repr(found) == repr(graph)
    ready = passes.prepare(graph, ops=device.capabilities.ops, supports=device.supports).graph
    assert same(decode(encode(ready)), ready)
    assert same(decode(encode(device.capabilities)), device.capabilities)


VALUES = [
    *(None, True, -3, 1 << 63, 0.5, float("inf"), "größe", b"\0\xff", [], (), {}, frozenset({"a"})),
    {"a": (1, [2, None]), 3: {"b": b"c"}},
    MappingProxyType({"axis": (1, 2)}),
    (KVLayout(16, "f32", ()), Shape(tokens=4, rows=2, outputs=1, blocks=3)),
    Memory(total=10, free=5, largest_allocation=4, host=False),
    np.arange(12, dtype=np.int64).reshape(3, 4).T,
    *(np.zeros((0, 5), np.float32), np.array(3.5, np.float64), np.array([True, False])),
    np.array([1.5, -2.0], ml_dtypes.bfloat16),
    (np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(np.int8)),
    (np.float32(1.25), np.int64(-7)),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize("apart", [False, True])
def test_values_come_back_as_they_were(value: object, apart: bool) -> None:
    arrays = [] if apart else None
    data = encode(value, arrays)
    raw = [memoryview(bytearray(array.tobytes())) for array in arrays or ()]
    assert same(decode(data, raw), value)


def test_a_step_s_arrays_are_left_out_and_read_in_place() -> None:
    graph = models.build(COMMON | FAMILIES["llama-tied"], dtype="f32", max_model_len=64)
    step, arrays = batch(graph), []
    data = encode(step, arrays)
    assert len(arrays) >= 5 and len(data) < 2000
    raw = [memoryview(bytearray(array.tobytes())) for array in arrays]
    found = decode(data, raw)
    assert same(found, step)
    found.tokens[0] += 1
    assert any(bytes(part) != array.tobytes() for part, array in zip(raw, arrays, strict=True))


@pytest.mark.parametrize("error", [DeviceLost("gone"), OutOfMemory("no room"), ValueError("no")])
def test_errors_keep_their_kind_and_words(error: Exception) -> None:
    found = decode(encode(error))
    assert type(found) is type(error) and str(found) == str(error)


class Mine:
    """Of no kind that is told."""


@pytest.mark.defends(
    "code between processes",
    "the processes of a mesh tell each other records of the contract and plain values, and nothing else",
    without=(
        "dovetail_sdk.mesh.wire",
        'raise NotTold(f"a {kind.__name__} is not told to the processes of a mesh")',
        "return repr(value)",
    ),
)
@pytest.mark.parametrize("value", [Mine(), Mine, os.system, slice(3), KeyError("x"), 1j])
def test_other_values_are_not_told(value: object) -> None:
    with pytest.raises(NotTold, match="is not told"):
        encode([value])


@pytest.mark.parametrize(
    "told", [["record", "os.system", "true"], ["error", "SystemExit", "1"], ["eval", "1"]]
)
def test_nothing_else_is_made_of_bytes(told: list[str]) -> None:
    with pytest.raises(KeyError):
        decode(msgspec.msgpack.encode(told))


@pytest.mark.defends(
    "code between processes",
    "memory that processes share has no name",
    without=(
        "dovetail_sdk.mesh.channel",
        "tempfile.TemporaryFile(",
        "tempfile.NamedTemporaryFile(",
    ),
)
def test_shared_memory_has_no_name_and_is_gone_with_its_processes() -> None:
    with make_shared_memory(2) as file:
        assert os.fstat(file.fileno()).st_nlink == 0
