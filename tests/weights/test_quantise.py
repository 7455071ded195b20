"""Quantisation against the formulas written plainly, and its error bounds."""

from __future__ import annotations

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from dovetail.graph import FP8, INT8, WeightForm
from dovetail.weights.quantise import (
    BLOCK_ELEMENTS,
    NotFinite,
    dequantise,
    group_of,
    quantise,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

SHAPES = [(1, 32), (3, 64), (5, 96), (7, 256), (BLOCK_ELEMENTS // 128 + 3, 384)]


def run(matrix, form):
    return quantise(lambda rows: matrix[rows].astype(np.float32), matrix.shape, form)


def int4(group):
    return WeightForm("int4_group", group=group)


def plain_int8(matrix):
    data = np.zeros(matrix.shape, np.int8)
    scale = np.ones(len(matrix), np.float32)
    for o, row in enumerate(matrix):
        if row.any():
            scale[o] = np.abs(row).max() / np.float32(127)
            data[o] = [round(float(np.float32(w / scale[o]))) for w in row]
    return {"data": data, "scale": scale}


def plain_fp8(matrix):
    data = np.zeros(matrix.shape, ml_dtypes.float8_e4m3fn)
    scale = np.ones(len(matrix), np.float32)
    for o, row in enumerate(matrix):
        if row.any():
            scale[o] = np.abs(row).max() / np.float32(448)
            data[o] = [nearest_e4m3(float(np.float32(w / scale[o]))) for w in row]
    return {"data": data, "scale": scale}


def nearest_e4m3(number):
    """By the definition: four bits of exponent above -6, three of mantissa, ties to the even one."""
    exponent = max(-6, int(np.floor(np.log2(abs(number))))) if number else -6
    step = 2.0 ** (exponent - 3)
    return min(448.0, max(-448.0, round(number / step) * step))


def plain_int4(matrix, group):
    outputs, inputs = matrix.shape
    data = np.zeros((outputs, inputs // 2), np.uint8)
    scale = np.ones((outputs, inputs // group), np.float32)
    zero = np.zeros((outputs, inputs // group), np.uint8)
    for o in range(outputs):
        for g in range(inputs // group):
            part = matrix[o, g * group : (g + 1) * group]
            low, high = min(part.min(), np.float32(0)), max(part.max(), np.float32(0))
            if high > low:
                scale[o, g] = (high - low) / np.float32(15)
            zero[o, g] = round(float(-low / scale[o, g]))
            steps = [round(float(np.float32(w / scale[o, g]))) + int(zero[o, g]) for w in part]
            for i, step in enumerate(min(max(step, 0), 15) for step in steps):
                at = g * group + i
                data[o, at // 2] |= step << (4 * (at % 2))
    return {"data": data, "scale": scale, "zero": zero}


def assert_same(planes, expected):
    assert planes.keys() == expected.keys()
    for name, plane in expected.items():
        assert planes[name].dtype == plane.dtype
        np.testing.assert_array_equal(planes[name], plane, err_msg=name)


@pytest.mark.parametrize("shape", SHAPES[:-1])
def test_int8_follows_its_formula(rng, shape):
    matrix = rng.standard_normal(shape, dtype=np.float32)
    assert_same(run(matrix, INT8), plain_int8(matrix))


@pytest.mark.parametrize("shape", SHAPES[:-1])
def test_fp8_follows_its_formula(rng, shape):
    matrix = rng.standard_normal(shape, dtype=np.float32) * np.exp(2 * rng.standard_normal(shape))
    matrix = matrix.astype(np.float32)
    assert_same(run(matrix, FP8), plain_fp8(matrix))


@pytest.mark.parametrize("shape", SHAPES)
def test_fp8_is_within_half_a_step(rng, shape):
    """Of three bits of mantissa, or of the smallest step there is."""
    matrix = rng.standard_normal(shape, dtype=np.float32)
    planes = run(matrix, FP8)
    error = np.abs(dequantise(planes, FP8) - matrix)
    bound = np.maximum(np.abs(matrix) / 16, planes["scale"][:, None] * np.float32(2.0**-10))
    assert (error <= bound * np.float32(1.001)).all()


@pytest.mark.parametrize("shape", SHAPES[:-1])
def test_int4_follows_its_formula(rng, shape):
    matrix = rng.standard_normal(shape, dtype=np.float32) + 0.3
    group = group_of(shape[1])
    assert_same(run(matrix, int4(group)), plain_int4(matrix, group))


@pytest.mark.parametrize("shape", SHAPES)
def test_int8_is_within_half_a_step(rng, shape):
    matrix = rng.standard_normal(shape, dtype=np.float32)
    planes = run(matrix, INT8)
    error = np.abs(dequantise(planes, INT8) - matrix)
    assert (error <= planes["scale"][:, None] * np.float32(0.5001)).all()
    assert planes["data"].min() >= -127


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shift", [-5, 0, 5])
def test_int4_is_within_one_step(rng, shape, shift):
    matrix = rng.standard_normal(shape, dtype=np.float32) + np.float32(shift)
    form = int4(group_of(shape[1]))
    planes = run(matrix, form)
    error = np.abs(dequantise(planes, form) - matrix).reshape(*planes["scale"].shape, -1)
    # Half a step from rounding the number and, at the ends, half from rounding the zero.
    assert (error <= planes["scale"][..., None] * np.float32(1.0001)).all()
    assert np.median(error / planes["scale"][..., None]) < 0.3


@settings(deadline=None, max_examples=150)
@given(
    matrix=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.sampled_from([32, 64, 128])),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
def test_any_finite_matrix_has_finite_planes_within_bounds(matrix):
    for form, bound in ((INT8, 0.51), (int4(32), 1.01)):
        planes = run(matrix, form)
        assert (planes["scale"] > 0).all()
        scale = planes["scale"].reshape(len(matrix), -1)
        step = np.repeat(scale, matrix.shape[1] // scale.shape[1], axis=1)
        error = np.abs(dequantise(planes, form).astype(np.float64) - matrix)
        assert (error <= bound * step).all()
        assert (dequantise(planes, form)[matrix == 0] == 0).all()


@pytest.mark.parametrize("form", [INT8, FP8, int4(32)], ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_named_by_row(form, value):
    matrix = np.ones((20_000, 32), np.float32)
    matrix[15_000, 31] = value
    with pytest.raises(NotFinite) as error:
        run(matrix, form)
    assert error.value.row == 15_000


@pytest.mark.parametrize(
    ("width", "group"), [(896, 128), (4864, 128), (64, 64), (192, 64), (160, 32), (80, None)]
)
def test_group_is_the_largest_that_divides(width, group):
    assert group_of(width) == group


@pytest.mark.parametrize("form", [INT8, int4(128), int4(32)], ids=str)
def test_peak_beyond_the_result_is_a_few_blocks(form):
    matrix = np.ones((8192, 1024), np.float32)
    tracemalloc.start()
    try:
        planes = quantise(lambda rows: matrix[rows].copy(), matrix.shape, form)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - sum(plane.nbytes for plane in planes.values()) < 16 * BLOCK_ELEMENTS
