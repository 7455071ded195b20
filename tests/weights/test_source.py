"""Reading a graph's weights from a checkpoint: views, conversions, joins, quantisation, and what is refused."""

from __future__ import annotations

import threading

import ml_dtypes
import numpy as np
import pytest
from dovetail.errors import CheckpointError
from dovetail.graph import BF16, F16, F32, FP8, INT8
from dovetail.platform import WeightSource
from dovetail.weights import open_checkpoint, open_source
from dovetail.weights.quantise import dequantise, quantise
from dovetail.weights.safetensors import open_tensors

from .conftest import bf16
from .graphs import graph, int4, weight

KINDS = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


def source_of(directory, *weights):
    return open_source(graph(*weights), open_checkpoint(str(directory.path)))


def planes(source, name):
    return {plane: source.read(name, plane) for plane in source.planes(name)}


def test_weight_stored_as_wanted_is_a_view_of_the_file(directory, rng):
    stored = bf16(rng.standard_normal((6, 4)))
    path = directory.tensors({"w": stored})
    source = source_of(directory, weight("w", (6, 4), BF16))
    assert isinstance(source, WeightSource)
    data = source.read("w")
    assert data.dtype == ml_dtypes.bfloat16
    assert not data.flags.writeable
    np.testing.assert_array_equal(data, stored)
    offset = open_tensors(directory.path)["w"].offset
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bf16(np.array([9.0])).tobytes())
    assert data[0, 0] == 9
    assert np.shares_memory(data, source.read("w", rows=slice(0, 1)))


@pytest.mark.parametrize("form", [F32, F16, BF16], ids=str)
@pytest.mark.parametrize("stored", [*KINDS, "f64"])
def test_dense_conversion_rounds_once(directory, rng, stored, form):
    array = rng.standard_normal((6, 4)).astype(KINDS.get(stored, np.float64))
    directory.tensors({"w": array})
    source = source_of(directory, weight("w", (6, 4), form))
    expected = array.astype(KINDS[form.dtype])
    assert source.read("w").dtype == expected.dtype
    np.testing.assert_array_equal(source.read("w"), expected)
    np.testing.assert_array_equal(source.read("w", rows=slice(2, 5)), expected[2:5])


def test_f16_is_refused_for_numbers_beyond_it(directory):
    directory.tensors({"w": np.array([[1.0, 70000.0]], np.float32)})
    source = source_of(directory, weight("w", (1, 2), F16))
    with pytest.raises(CheckpointError, match="w holds numbers beyond 65504"):
        source.read("w")


def test_unaligned_tensor_comes_aligned(directory):
    directory.tensors({"w": np.arange(6, dtype=np.float32).reshape(2, 3)})
    path = directory.path / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    odd = (
        (length + 1).to_bytes(8, "little") + content[8 : 8 + length] + b" " + content[8 + length :]
    )
    path.write_bytes(odd)
    data = source_of(directory, weight("w", (2, 3))).read("w")
    assert data.flags.aligned
    np.testing.assert_array_equal(data, np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("form", [F32, F16], ids=str)
def test_parts_are_joined_in_order(directory, rng, form):
    parts = {
        n: rng.standard_normal((rows, 4), dtype=np.float32)
        for n, rows in zip("qkv", (5, 1, 3), strict=True)
    }
    directory.shards({"q": parts["q"]}, {"k": parts["k"], "v": parts["v"]})
    source = source_of(directory, weight("qkv", (9, 4), form, parts="qkv"))
    whole = np.concatenate(list(parts.values())).astype(KINDS[form.dtype])
    for start in range(10):
        for stop in range(start, 10):
            np.testing.assert_array_equal(
                source.read("qkv", rows=slice(start, stop)), whole[start:stop]
            )
    np.testing.assert_array_equal(source.read("qkv", rows=slice(-2, None)), whole[-2:])


def test_rows_within_one_part_are_a_view(directory):
    directory.tensors({"a": np.ones((2, 3), np.float32), "b": np.zeros((2, 3), np.float32)})
    source = source_of(directory, weight("ab", (4, 3), parts="ab"))
    one, same = (source.read("ab", rows=slice(2, 4)) for _ in range(2))
    assert np.shares_memory(one, same)


@pytest.mark.parametrize("form", [INT8, FP8, int4(32)], ids=str)
@pytest.mark.parametrize("stored", KINDS)
def test_quantised_parts_equal_the_quantised_whole(directory, rng, form, stored):
    parts = {n: rng.standard_normal((3, 64)).astype(KINDS[stored]) for n in "qkv"}
    directory.tensors(parts)
    source = source_of(directory, weight("qkv", (9, 64), form, parts="qkv"))
    whole = np.concatenate(list(parts.values())).astype(np.float32)
    expected = quantise(lambda rows: whole[rows].copy(), (9, 64), form)
    found = planes(source, "qkv")
    assert found.keys() == expected.keys()
    for name, plane in expected.items():
        np.testing.assert_array_equal(found[name], plane)
        np.testing.assert_array_equal(source.read("qkv", name, slice(2, 7)), plane[2:7])
    assert np.abs(dequantise(found, form) - whole).max() < 0.5


def test_quantised_weight_is_computed_once_for_all_threads(directory, rng):
    directory.tensors({"w": rng.standard_normal((256, 128), dtype=np.float32)})
    source = source_of(directory, weight("w", (256, 128), INT8))
    found = []
    threads = [threading.Thread(target=lambda: found.append(source.read("w"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.shares_memory(found[0], other) for other in found)
    source.close()
    assert found[0].shape == (256, 128)


def test_damaged_number_is_named_when_quantising(directory):
    array = np.ones((4, 32), np.float32)
    array[2, 5] = np.nan
    path = directory.tensors({"w": array})
    source = source_of(directory, weight("w", (4, 32), INT8))
    with pytest.raises(CheckpointError, match=r"tensor w: row 2 holds NaN") as error:
        source.read("w")
    assert str(path) in str(error.value)


def test_missing_tensors_are_all_counted_and_some_named(directory):
    wanted = [weight(f"layer.{i}", (2, 2)) for i in range(9)]
    with pytest.raises(CheckpointError) as error:
        source_of(directory, weight("weight", (2, 3)), *wanted)
    text = str(error.value)
    assert "lacks 9 of the 10 tensors" in text
    assert "layer.0, layer.1, layer.2, layer.3, layer.4 and 4 more" in text
    assert "it has 1 tensors, such as weight" in text


def test_missing_tensors_of_a_quantised_checkpoint_say_so(directory):
    directory.json("config.json", {"quantization_config": {"quant_method": "awq"}})
    with pytest.raises(CheckpointError, match=r"quantised already \(awq\)"):
        source_of(directory, weight("absent", (2, 2)))


def test_wrong_shape_names_file_tensor_and_both_shapes(directory):
    with pytest.raises(CheckpointError) as error:
        source_of(directory, weight("weight", (4, 3)))
    text = str(error.value)
    assert str(directory.path / "model.safetensors") in text
    assert "tensor weight has shape [2, 3]; the configuration asks for [4, 3]" in text


def test_parts_of_wrong_shape_are_named(directory):
    directory.tensors({"a": np.ones((2, 3), np.float32), "b": np.zeros((2, 4), np.float32)})
    with pytest.raises(CheckpointError, match=r"tensor b has shape \[2, 4\].*\['\*', 3\]"):
        source_of(directory, weight("ab", (4, 3), parts="ab"))
    with pytest.raises(CheckpointError, match=r"a, a have 4 rows together.*\[5, 3\]"):
        source_of(directory, weight("ab", (5, 3), parts="aa"))


def test_stored_dtype_that_is_no_weight_is_refused(directory):
    directory.tensors({"w": np.ones((2, 2), np.int8)})
    with pytest.raises(
        CheckpointError, match="tensor w is stored as I8; weights are read from F32"
    ):
        source_of(directory, weight("w", (2, 2)))


def test_unused_tensors_are_reported(directory, caplog):
    one = np.ones(1, np.float32)
    directory.tensors({"w": one, "q.bias": one, "rope.inv_freq": one, "lm_head.weight": one})
    source = source_of(directory, weight("w", (1,)))
    assert source.unused == ("lm_head.weight", "q.bias", "rope.inv_freq")
    assert "count=1 first=q.bias" in caplog.text


def test_unknown_plane_and_stepped_rows_are_the_callers_mistake(directory):
    source = source_of(directory, weight("weight", (2, 3)))
    assert source.planes("weight") == ("data",)
    assert source.spec("weight").shape == (2, 3)
    with pytest.raises(KeyError, match="no plane 'scale'"):
        source.read("weight", "scale")
    with pytest.raises(ValueError, match="step 1"):
        source.read("weight", rows=slice(None, None, 2))
