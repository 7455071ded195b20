"""Attention, cache writes and rope against the reference, by the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dovetail_sdk.reference import ops as reference
from dovetail_sdk.triton import kernels
from steps import DTYPES, ERROR, error, filled_layer, random_tensor, step_of

MIXES = (
    ([1, 1, 1], [36, 0, 100]),
    ([5, 1, 12, 2], [0, 150, 7, 64]),
)
SHAPES = (
    # H, K, D, Dv, S
    (4, 4, 32, 32, 16),
    (6, 2, 64, 32, 16),
    (8, 1, 80, 80, 32),
    (40, 2, 16, 16, 12),
)


def attended(architecture, step, q, cache, expected, **attributes):
    kernel = kernels(architecture)["attention"]
    common = {"scale": 0.3, "kv_heads": cache.keys.shape[2], "value_width": cache.values.shape[3]}
    y = kernel.call(q, None, cache=cache, step=step, **common, **attributes)
    wanted = reference.attention(
        q.float().numpy(), np.zeros(()), cache=expected, step=step.reference, **common, **attributes
    )
    return error(y, wanted)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bounds", [{}, {"window": 5}, {"window": 40, "soft_cap": 5.0}])
def test_attention_of_any_mix_of_rows_is_the_references(mix, shape, bounds):
    heads, kv_heads, width, value_width, size = shape
    step = step_of(*mix, size)
    layers = filled_layer(step, kv_heads, width, value_width, torch.float32)
    q = random_tensor((sum(mix[0]), heads, width))
    assert attended("emulated", step, q, *layers, **bounds) < ERROR[torch.float32]


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_120", "gfx942", "gfx1100", "other"])
def test_attention_is_right_with_the_tuning_of_every_kind_of_chip(architecture):
    step = step_of([66, 1, 3], [100, 300, 0], 16)
    layers = filled_layer(step, 2, 32, 32, torch.bfloat16)
    q = random_tensor((70, 8, 32), torch.bfloat16)
    assert attended(architecture, step, q, *layers) < ERROR[torch.bfloat16]


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        ("f16", torch.float16),
        ("bf16", torch.bfloat16),
        ("bf16", torch.float8_e4m3fn),
        ("f16", torch.float8_e4m3fnuz),
        ("f32", torch.bfloat16),
    ],
)
def test_attention_reads_every_form_of_cache(dtype, kept):
    step = step_of([20, 1, 2], [30, 70, 0], 16)
    layers = filled_layer(step, 2, 32, 32, kept)
    q = random_tensor((23, 4, 32), DTYPES[dtype])
    assert attended("emulated", step, q, *layers) < ERROR[DTYPES[dtype]]


def test_attention_of_a_captured_step_needs_nothing_from_the_host():
    step = step_of([1, 1, 1, 1], [0, 130, 17, 255], 16, captured=True)
    layers = filled_layer(step, 2, 32, 32, torch.float32)
    for bounds in ({}, {"window": 30}):
        q = random_tensor((4, 4, 32))
        assert attended("emulated", step, q, *layers, **bounds) < ERROR[torch.float32]


def test_attention_sinks_take_weight_without_a_value():
    """A sink is a key whose value is 0, seen by every query."""
    from dovetail_sdk.triton.attention import attend
    from dovetail_sdk.triton.plan import make_plan

    step = step_of([20, 1, 3], [30, 130, 0], 16)
    cache, expected = filled_layer(step, 2, 32, 32, torch.float32)
    q, sinks = random_tensor((24, 4, 32)), random_tensor((4,), seed=5)
    plan = make_plan(step, "emulated", heads=4, kv_heads=2, width=32, value_width=32)
    given = (step.tables[0], step.starts, step.past, plan)
    y = attend(q, cache.keys, cache.values, *given, scale=0.3, sinks=sinks)
    without = attend(q, cache.keys, cache.values, *given, scale=0.3).numpy()
    # the mass of the keys against that of the sink, from the reference's own scores
    mass = np.empty((24, 4), np.float64)
    host = step.reference
    for row in range(3):
        for token in range(host.starts[row], host.starts[row + 1]):
            end = int(host.past[row]) + token - int(host.starts[row]) + 1
            places = np.arange(end)
            keys = expected.keys[host.tables[0][row, places // 16], places % 16]
            for head in range(4):
                mass[token, head] = np.exp(0.3 * keys[:, head // 2] @ q[token, head].numpy()).sum()
    share = mass / (mass + np.exp(sinks.numpy().astype(np.float64)))
    assert error(y, (without * share[..., None]).astype(np.float32)) < ERROR[torch.float32]


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(("width", "pairs"), [(32, 16), (32, 8), (18, 9), (80, 16)])
def test_rope_is_the_references(interleaved, width, pairs):
    positions = np.array([[0, 3, 30000, 131071]], np.int32)
    frequencies = tuple(10000.0 ** (-i / pairs) for i in range(pairs))
    for dtype in DTYPES.values():
        x = random_tensor((4, 5, width), dtype)
        given = {"factor": 1.25, "interleaved": interleaved}
        y = kernels("emulated")["rope"].call(
            x, torch.tensor(positions), frequencies=torch.tensor(frequencies), **given
        )
        wanted = reference.rope(x.float().numpy(), positions, frequencies=frequencies, **given)
        assert y.dtype == dtype
        assert error(y, wanted) < ERROR[dtype]


@pytest.mark.parametrize("kept", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_rope_write_is_rope_and_kv_write(kept):
    """Also from pieces of one merged projection, whose heads are not contiguous between tokens."""
    step = step_of([5, 1, 9], [0, 14, 31], 16)
    table = kernels("emulated")
    merged = random_tensor((15, 8, 32), torch.bfloat16)
    q, k, v = merged[:, :4], merged[:, 4:6], merged[:, 6:]
    positions = torch.arange(15, dtype=torch.int32)[None]
    given = {"frequencies": torch.tensor([1.0, 0.3, 0.01]), "factor": 1.0, "interleaved": False}
    fused, apart = (filled_layer(step, 2, 32, 32, kept)[0] for _ in range(2))
    before = fused.keys.clone()
    y, _ = table["dovetail.rope_write"].call(q, k, v, positions, cache=fused, step=step, **given)
    rotated_q, rotated_k = (table["rope"].call(x, positions, **given) for x in (q, k))
    table["kv_write"].call(rotated_k, v, cache=apart, step=step)
    assert torch.equal(y, rotated_q)
    pairs = [(fused.keys, apart.keys), (fused.values, apart.values)]
    if fused.scales:
        pairs += zip(fused.scales, apart.scales, strict=True)
    for mine, theirs in pairs:
        assert torch.equal(mine.float().nan_to_num(99), theirs.float().nan_to_num(99))
    blocks, offsets = step.reference.places(0)
    at = (blocks, offsets.astype(np.int64))
    if fused.scales:
        scale = rotated_k.float().abs().amax(-1) / torch.finfo(kept).max
        assert torch.allclose(fused.scales[0][at], scale)
        found = fused.keys[at].float() * scale[..., None]
        assert error(found, rotated_k.float().numpy()) < 2e-3
    else:
        assert torch.equal(fused.keys[at].float(), rotated_k.float().to(kept).float())
    touched = torch.zeros(before.shape[:2], dtype=torch.bool)
    touched[blocks, offsets.astype(np.int64)] = True
    same = (fused.keys.float() == before.float()).all(-1).all(-1)
    assert bool((same | touched)[1:].all()), "a place that no token owns was written"


@pytest.mark.parametrize("kept", [torch.float8_e4m3fn, torch.float8_e4m3fnuz])
def test_kv_write_keeps_numbers_of_every_size_in_fp8(kept):
    step = step_of([1, 1, 1], [0, 3, 7], 16)
    cache, _ = filled_layer(step, 1, 16, 16, kept)
    k = torch.tensor([1e4, -1e-4, 0.0]).reshape(3, 1, 1).expand(3, 1, 16).contiguous()
    kernels("emulated")["kv_write"].call(k, k, cache=cache, step=step)
    blocks, offsets = step.reference.places(0)
    at = (blocks, offsets.astype(np.int64))
    found = cache.keys[at].float() * cache.scales[0][at][..., None]
    assert torch.allclose(found[:, 0], k[:, 0], rtol=1e-6)
