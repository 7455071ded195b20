"""Which form each weight gets."""

from __future__ import annotations

import numpy as np
import pytest
from dovetail.errors import ConfigError
from dovetail.graph import BF16, F16, F32, FP8, INT4, INT8
from dovetail.weights import choose_forms, open_checkpoint

from .conftest import bf16
from .graphs import graph, int4, weight

ALL = (F32, F16, BF16, INT8, FP8, INT4)
MODEL = graph(
    weight("embed", (4, 128)),
    weight("wide", (4, 64)),
    weight("norm", (128,)),
    weight("other", (4, 128)),
    uses={
        "embed": ("embed", "table"),
        "norm": ("rms_norm", "weight"),
        "other": ("convolution", "weight"),
    },
)


@pytest.fixture
def checkpoint(directory):
    arrays = {name: np.zeros(item.shape) for name, item in MODEL.weights.items()}
    directory.tensors({name: bf16(array) for name, array in arrays.items()})
    return open_checkpoint(str(directory.path))


def choose(checkpoint, model=MODEL, quantization=None, accepted=ALL, compute_dtype="f32"):
    return choose_forms(
        model,
        checkpoint,
        quantization=quantization,
        accepted=accepted,
        compute_dtype=compute_dtype,
    )


def test_matrices_stay_as_stored_and_vectors_are_f32(checkpoint):
    chosen = choose(checkpoint)
    assert chosen.forms == {"embed": BF16, "wide": BF16, "norm": F32, "other": BF16}
    assert chosen.notes == ()
    assert chosen.describe() == "bf16"


@pytest.mark.parametrize(
    ("accepted", "compute", "expected"),
    [((F32, F16), "f16", F16), ((F16, F32), "bf16", F32), ((F16,), "f32", F16)],
)
def test_stored_dtype_the_device_lacks_is_converted_and_noted(
    checkpoint, accepted, compute, expected
):
    chosen = choose(checkpoint, accepted=accepted, compute_dtype=compute)
    assert chosen.forms["embed"] == expected
    assert chosen.forms["norm"] == F32
    assert chosen.notes == (f"stored as bf16, converted to {expected}: embed and 2 more",)


def test_quantization_is_for_linear_and_embed_alone(checkpoint):
    chosen = choose(checkpoint, quantization="int8")
    assert chosen.forms == {"embed": INT8, "wide": INT8, "norm": F32, "other": BF16}
    assert chosen.describe() == "int8, bf16"


def test_int4_takes_the_largest_group_that_fits(checkpoint):
    chosen = choose(checkpoint, quantization="int4", accepted=(F32, BF16, INT4))
    assert chosen.forms["embed"] == INT4
    assert chosen.forms["wide"] == int4(64)
    assert chosen.notes == ()


@pytest.mark.parametrize(("accepted", "expected"), [(ALL, INT8), ((F32, INT4), F32)])
def test_int4_that_does_not_fit_falls_back_and_says_so(accepted, expected):
    model = graph(weight("odd", (4, 80)), weight("same", (4, 80)))
    chosen = choose(None, model, quantization="int4", accepted=accepted)
    assert chosen.forms == {"odd": expected, "same": expected}
    (note,) = chosen.notes
    assert "width 80 is" in note
    assert note.endswith("odd and 1 more")


def test_parts_stored_differently_count_as_the_widest(directory):
    directory.tensors({"a": bf16(np.zeros((1, 4))), "b": np.zeros((1, 4), np.float16)})
    model = graph(weight("ab", (2, 4), parts="ab"))
    assert choose(open_checkpoint(str(directory.path)), model).forms["ab"] == F32


def test_without_a_checkpoint_weights_count_as_stored_in_the_compute_dtype():
    assert choose(None, compute_dtype="f16").forms["embed"] == F16


def test_the_weights_of_experts_are_matrices_too():
    made = graph(
        weight("up", (24, 64)), weight("down", (12, 32)),
        uses={"up": ("mixture", "gate_up"), "down": ("mixture", "down")},
    )  # fmt: skip
    chosen = choose_forms(made, None, quantization="int8", accepted=ALL, compute_dtype="f32")
    assert chosen.forms == {"up": INT8, "down": INT8}


def test_fp8_is_a_form_of_every_width():
    made = graph(weight("w", (4, 33)), uses={"w": ("linear", "weight")})
    chosen = choose_forms(made, None, quantization="fp8", accepted=(F32, FP8), compute_dtype="f32")
    assert chosen.forms == {"w": FP8} and chosen.describe() == "fp8"


@pytest.mark.parametrize(
    ("quantization", "accepted", "message"),
    [
        ("int3", ALL, r"quantization 'int3' is not known; known are int8, fp8, int4"),
        ("int4", (F32, INT8), r"int4 is not one of the weight forms of this device \(f32, int8\)"),
        ("int8", (F32, INT4), r"int8 is not one of .* \(f32, int4g128\)"),
        ("fp8", (F32, INT8), r"fp8 is not one of .* \(f32, int8\)"),
        (None, (INT8,), r"accepts no dense weights \(its weight forms: int8\)"),
    ],
)
def test_request_the_device_does_not_accept_is_refused(quantization, accepted, message):
    with pytest.raises(ConfigError, match=message):
        choose(None, quantization=quantization, accepted=accepted)
