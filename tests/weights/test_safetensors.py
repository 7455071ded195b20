"""The safetensors reader against the safetensors package, and against damaged files."""

from __future__ import annotations

import json
import mmap
import os
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from dovetail.errors import CheckpointError
from dovetail.weights.safetensors import DTYPES, open_file, open_tensors
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

ORACLE_KINDS = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def raw(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A file with any header and any claim about its length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def read_all(path: Path) -> dict[str, np.ndarray]:
    tensors = open_tensors(path.parent)
    return {name: tensors.view(name) for name in tensors}


def write(directory: Path, content: bytes) -> Path:
    path = directory / "model.safetensors"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("dtype", ORACLE_KINDS)
def test_reader_returns_what_the_package_wrote(directory, rng, dtype):
    arrays = {
        "matrix": rng.integers(0, 2, (5, 7)).astype(ORACLE_KINDS[dtype]),
        "vector": rng.integers(0, 2, 3).astype(ORACLE_KINDS[dtype]),
        "scalar": np.ones((), ORACLE_KINDS[dtype]),
        "empty": np.ones((0, 4), ORACLE_KINDS[dtype]),
    }
    directory.tensors(arrays)
    found = read_all(directory.path / "model.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_reader_knows_the_eight_bit_floats(tmp_path):
    header = {"a": entry("F8_E4M3", (1,), (0, 1)), "b": entry("F8_E5M2", (1,), (1, 2))}
    found = read_all(write(tmp_path, raw(header, b"\x38\x3c")))
    assert [float(found[name][0]) for name in "ab"] == [1.0, 1.0]


def test_reader_joins_shards_by_their_index(directory, rng):
    arrays = {name: rng.standard_normal((3, 4), dtype=np.float32) for name in "abc"}
    directory.shards({"a": arrays["a"]}, {"b": arrays["b"], "c": arrays["c"]})
    tensors = open_tensors(directory.path)
    assert set(tensors) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(tensors.view(name), array)


def test_reader_takes_every_file_where_there_is_no_index(directory):
    (directory.path / "model.safetensors").unlink()
    directory.tensors({"a": np.ones(2, np.float32)}, "one.safetensors")
    directory.tensors({"b": np.ones(2, np.float32)}, "two.safetensors")
    assert set(open_tensors(directory.path)) == {"a", "b"}


def test_view_is_the_mapped_file_and_not_writable(directory):
    path = directory.tensors({"a": np.arange(1024, dtype=np.float32)})
    tensors = open_tensors(directory.path)
    view = tensors.view("a")
    base = view
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap)
    assert not view.flags.writeable
    with path.open("r+b") as file:
        file.seek(tensors["a"].offset)
        file.write(struct.pack("<f", 42.0))
    assert view[0] == 42.0


BROKEN = {
    "empty file": (b"", "0 bytes"),
    "seven bytes": (b"\0" * 7, "7 bytes"),
    "no header": (raw(b""), "not valid JSON"),
    "header past the end": (raw({}, length=3_000_000_000), "3000000000"),
    "header of 2**64 - 1": (raw({}, length=2**64 - 1), "header claims"),
    "header not UTF-8": (raw(b'{"\xff": 1}'), "UTF-8"),
    "header not JSON": (raw(b"{nope}"), "not valid JSON"),
    "header an array": (raw([1]), "array, not an object"),
    "header too deep": (raw(b"[" * 100_000), "nested"),
    "name given twice": (raw(b'{"a": 1, "a": 2}'), "'a' is there twice"),
    "entry a number": (raw({"a": 3}), "'a' needs dtype"),
    "entry without shape": (raw({"a": {"dtype": "F32", "data_offsets": [0, 0]}}), "'a' needs"),
    "unknown dtype": (raw({"a": entry("F4")}, b"\0" * 8), "'F4'; known are F64"),
    "dtype a list": (raw({"a": entry([])}, b"\0" * 8), "dtype"),
    "negative length": (raw({"a": entry(shape=[-2])}, b"\0" * 8), "[-2]"),
    "length a boolean": (raw({"a": entry(shape=[True, 2])}, b"\0" * 8), "shape"),
    "length a fraction": (raw({"a": entry(shape=[2.0])}, b"\0" * 8), "[2.0]"),
    "length of 2**70": (raw({"a": entry(shape=[2**70])}, b"\0" * 8), "shape"),
    "too many axes": (raw({"a": entry(shape=[1] * 40)}, b"\0" * 4), "at most 16"),
    "empty and immense": (raw({"a": entry(shape=[2**62, 0], offsets=[0, 0])}), "any file holds"),
    "one offset": (raw({"a": entry(offsets=[8])}, b"\0" * 8), "[begin, end]"),
    "offsets reversed": (raw({"a": entry(offsets=[8, 0])}, b"\0" * 8), "[begin, end]"),
    "bytes too few": (raw({"a": entry(shape=[3])}, b"\0" * 8), "12 bytes"),
    "data cut short": (raw({"a": entry()}, b"\0" * 7), "cut short"),
    "bytes left over": (raw({"a": entry()}, b"\0" * 9), "offset 8"),
    "hole": (raw({"a": entry(), "b": entry(offsets=[12, 20])}, b"\0" * 20), "hole"),
    "overlap": (raw({"a": entry(), "b": entry(offsets=[4, 12])}, b"\0" * 12), "overlaps"),
    "first byte skipped": (raw({"a": entry(offsets=[4, 12])}, b"\0" * 12), "offset 4"),
}


@pytest.mark.defends(
    "hostile checkpoint files",
    "a header's lengths and offsets are checked against the file before anything is mapped",
    without=(
        "dovetail.weights.safetensors",
        "if tensor.num_bytes != offsets[1] - offsets[0]:",
        "if False:",
    ),
)
@pytest.mark.parametrize("name", BROKEN)
def test_reader_refuses(tmp_path, name):
    content, message = BROKEN[name]
    path = write(tmp_path, content)
    with pytest.raises(CheckpointError) as error:
        open_tensors(tmp_path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_reader_refuses_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")  # opening it would wait for a writer forever
    with pytest.raises(CheckpointError, match="no regular file"):
        open_tensors(tmp_path)


@pytest.mark.defends(
    "administration and paths",
    "a shard is a plain file beside its index",
    without=(
        "dovetail.weights.safetensors",
        r'plain = isinstance(shard, str) and shard.isprintable() and not set(shard) & set("/\\:")',
        "plain = isinstance(shard, str)",
    ),
)
@pytest.mark.parametrize(
    "shard",
    ["../secret.safetensors", "/etc/secret.safetensors", "a/b.safetensors", "..\\x.safetensors"]
    + ["c:x.safetensors", "model.bin", "", "x\0.safetensors", "\ud800.safetensors", None, 3, ["a"]],
)
def test_index_stays_in_its_directory(directory, shard):
    (directory.path / "model.safetensors").unlink()
    directory.tensors({"a": np.ones(2, np.float32)}, "../secret.safetensors")
    directory.json("model.safetensors.index.json", {"weight_map": {"a": shard}})
    with pytest.raises(CheckpointError, match="beside the index"):
        open_tensors(directory.path)


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["a"]}])
def test_index_needs_a_weight_map(directory, index):
    (directory.path / "model.safetensors").unlink()
    directory.json("model.safetensors.index.json", index)
    with pytest.raises(CheckpointError, match="no weight_map"):
        open_tensors(directory.path)


def test_index_names_a_tensor_that_its_shard_lacks(directory):
    directory.shards({"a": np.ones(2, np.float32)}, {"b": np.ones(2, np.float32)})
    directory.tensors({"x": np.ones(2, np.float32)}, "model-00001-of-00002.safetensors")
    with pytest.raises(
        CheckpointError, match=r"model-00001-of-00002.safetensors has no tensor 'b'"
    ):
        open_tensors(directory.path)


def test_index_names_a_shard_that_is_missing(directory):
    directory.shards({"a": np.ones(2, np.float32)}, {"b": np.ones(2, np.float32)})
    (directory.path / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002.safetensors is missing"):
        open_tensors(directory.path)


def test_same_tensor_in_two_files_is_refused(directory):
    (directory.path / "model.safetensors").unlink()
    for name in ("one.safetensors", "two.safetensors"):
        directory.tensors({"a": np.ones(2, np.float32)}, name)
    with pytest.raises(
        CheckpointError, match=r"'a' is in both one.safetensors and two.safetensors"
    ):
        open_tensors(directory.path)


VALID = save(
    {
        "embed": np.arange(64, dtype=np.float32).reshape(8, 8),
        "half": np.arange(10, dtype=np.float16),
        "norm": np.ones(5, np.int8),
    },
    metadata={"format": "pt"},
)
HEADER = json.loads(VALID[8 : 8 + struct.unpack("<Q", VALID[:8])[0]])


def accepts(path: Path) -> bool:
    """Open and read every byte: True, or False with a CheckpointError. Anything else fails the test."""
    try:
        tensors, mapped = open_file(path)
    except CheckpointError as error:
        assert str(path) in str(error)
        return False
    for tensor in tensors.values():
        assert tensor.offset + tensor.num_bytes <= len(mapped.data)
    for array in read_all(path).values():
        array.tobytes()
    return True


def oracle_accepts(path: Path) -> bool:
    try:
        with safe_open(path, framework="numpy") as file:
            file.keys()
        return True
    except SafetensorError:
        return False


quiet = settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.defends(
    "hostile checkpoint files",
    "a header's lengths and offsets are checked against the file before anything is mapped",
    without=[
        ("dovetail.weights.safetensors", "if stop > size - start:", "if False:"),
        ("dovetail.weights.safetensors", "if end != size - start:", "if False:"),
    ],
)
@quiet
@given(cut=st.integers(0, len(VALID)))
def test_truncation_is_refused(tmp_path, cut):
    assert accepts(write(tmp_path, VALID[:cut])) == (cut == len(VALID))


@quiet
@given(flips=st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=6))
def test_changed_bytes_are_read_within_bounds_or_refused(tmp_path, flips):
    content = bytearray(VALID)
    for at, value in flips:
        content[at] = value
    path = write(tmp_path, bytes(content))
    if accepts(path):
        assert oracle_accepts(path), "the package refuses what we read"


@quiet
@given(length=st.integers(0, 2**64 - 1) | st.integers(0, 2 * len(VALID)))
def test_changed_header_length_is_refused(tmp_path, length):
    same = length == struct.unpack("<Q", VALID[:8])[0]
    assert accepts(write(tmp_path, struct.pack("<Q", length) + VALID[8:])) == same


numbers = st.integers(-(2**70), 2**70) | st.integers(-4, 400) | st.floats() | st.none() | st.text()
values = st.recursive(numbers | st.booleans(), st.lists, max_leaves=8)


@quiet
@given(
    name=st.sampled_from(["embed", "half", "norm"]),
    field=st.sampled_from(["dtype", "shape", "data_offsets"]),
    value=values | st.sampled_from(list(DTYPES)) | st.lists(st.integers(0, 300), max_size=3),
)
@example("embed", "shape", [2**31, 2**31, 2**31, 0])
@example("norm", "shape", [2**62, 0])
@example("embed", "data_offsets", [0, 2**63])
def test_changed_header_fields_are_read_within_bounds_or_refused(tmp_path, name, field, value):
    header = json.loads(json.dumps(HEADER))
    header[name][field] = value
    data = VALID[8 + struct.unpack("<Q", VALID[:8])[0] :]
    path = write(tmp_path, raw(header, data))
    if accepts(path):
        assert oracle_accepts(path), "the package refuses what we read"


@quiet
@given(text=st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_header_text_is_refused_or_empty(tmp_path, text):
    path = write(tmp_path, raw(text.encode("utf-8", "surrogatepass")))
    if accepts(path):
        assert not read_all(path)
