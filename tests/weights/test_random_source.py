"""Random weights in place of a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
from dovetail.graph import BF16, F16, F32, FP8, INT8
from dovetail.platform import WeightSource
from dovetail.weights import random_weights
from dovetail.weights.quantise import dequantise, empty_planes

from .graphs import graph, int4, weight

FORMS = [F32, F16, BF16, INT8, FP8, int4(128), int4(32)]


def planes(source, name):
    return {plane: source.read(name, plane) for plane in source.planes(name)}


def numbers(form, shape=(300, 256), seed=0):
    """A random matrix as f32."""
    found = planes(random_weights(graph(weight("w", shape, form)), seed), "w")
    return found["data"].astype(np.float32) if form.kind == "dense" else dequantise(found, form)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_matrices_have_the_deviation_that_keeps_size(form):
    found = numbers(form)
    assert found.shape == (300, 256)
    assert abs(found.std() * 16 - 1) < 0.05
    assert abs(found.mean()) < 0.005


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_equal_seeds_give_equal_numbers_in_any_slices(form):
    first, second = (random_weights(graph(weight("w", (6000, 256), form)), 3) for _ in range(2))
    for plane in first.planes("w"):
        whole = first.read("w", plane)
        parts = [second.read("w", plane, slice(at, at + 2500)) for at in (2500, 0, 5000)]
        np.testing.assert_array_equal(whole, np.concatenate([parts[1], parts[0], parts[2]]))
    assert (numbers(form, seed=1) != numbers(form, seed=2)).any()


@pytest.mark.parametrize("form", [form for form in FORMS if form.kind != "dense"], ids=str)
def test_planes_are_those_of_the_form(form):
    source = random_weights(graph(weight("w", (6, 256), form)))
    assert isinstance(source, WeightSource)
    expected = empty_planes((6, 256), form)
    assert {name: (p.shape, p.dtype) for name, p in planes(source, "w").items()} == {
        name: (p.shape, p.dtype) for name, p in expected.items()
    }


def test_weights_differ_from_each_other_and_norms_are_about_one():
    items = [weight(name, (256,)) for name in ("norm", "bias")]
    source = random_weights(
        graph(*items, uses={"norm": ("rms_norm", "weight"), "bias": ("linear", "bias")})
    )
    assert abs(source.read("norm").mean() - 1) < 0.05
    assert abs(source.read("bias").std() - 0.02) < 0.005
    pair = random_weights(graph(weight("a", (4, 64)), weight("b", (4, 64))))
    assert (pair.read("a") != pair.read("b")).all()
