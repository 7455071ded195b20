"""The NumPy ops against torch and transformers, in f32."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dovetail.graph import OPS as SPECS
from dovetail.graph import CacheGroup
from dovetail.platform import KVLayout
from dovetail_sdk.reference import ops
from dovetail_sdk.runner import NumpyBackend, PagedCache, Step
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

RNG = np.random.default_rng(11)


def random(*shape):
    return RNG.standard_normal(shape, np.float32)


def close(ours, theirs, tolerance=2e-5):
    np.testing.assert_allclose(ours, theirs.numpy(), atol=tolerance, rtol=tolerance)


def t(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def test_every_op_has_a_definition_with_the_operands_of_its_spec():
    assert set(ops.OPS) == set(SPECS)
    for name, function in ops.OPS.items():
        spec = SPECS[name]
        code = function.__code__
        positional = code.co_varnames[: code.co_argcount]
        assert positional == tuple(operand.name for operand in spec.inputs), name
        named = set(code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount])
        wanted = {operand.name for operand in spec.weights} | {a.name for a in spec.attributes}
        assert named == wanted | ({"cache", "step"} if spec.layered else set()), name
        assert (name in ops.CACHED) == spec.layered


def test_embed_linear_and_take_rows():
    table, x, weight, bias = random(7, 5), random(2, 3, 5), random(4, 5), random(4)
    ids = np.array([3, 0, 6], np.int32)
    close(ops.embed(ids, table=table), F.embedding(t(ids).long(), t(table)))
    close(ops.linear(x, weight=weight, bias=bias), F.linear(t(x), t(weight), t(bias)))
    close(ops.linear(x, weight=weight), F.linear(t(x), t(weight)))
    close(ops.take_rows(table, ids[:0]), t(table)[:0])


@pytest.mark.parametrize("shape", [(3, 8), (3, 2, 5)])
def test_norms(shape):
    x, residual, weight, bias = (
        random(*shape) * 3,
        random(*shape),
        random(shape[-1]),
        random(shape[-1]),
    )
    size = shape[-1:]
    close(ops.rms_norm(x, weight=weight, eps=1e-5), F.rms_norm(t(x), size, t(weight), 1e-5))
    for b in (bias, None):
        close(
            ops.layer_norm(x, weight=weight, bias=b, eps=1e-5),
            F.layer_norm(t(x), size, t(weight), None if b is None else t(b), 1e-5),
        )
    normed, total = ops.add_rms_norm(x, residual, weight=weight, eps=1e-6)
    close(total, t(x) + t(residual))
    close(normed, F.rms_norm(t(x) + t(residual), size, t(weight), 1e-6))


@pytest.mark.parametrize("factor", [1.0, 1.3])
def test_rope_in_halves(factor):
    x, positions = random(6, 3, 8), np.array([[0, 1, 2, 40, 41, 500]], np.int32)
    frequencies = 1.0 / 10000 ** (np.arange(4) / 4)
    angles = positions[0][:, None] * np.concatenate([frequencies, frequencies])
    cos, sin = (t(f(angles).astype(np.float32) * factor)[None] for f in (np.cos, np.sin))
    q = t(x.transpose(1, 0, 2))[None]
    theirs, _ = apply_rotary_pos_emb(q, q, cos, sin)
    ours = ops.rope(x, positions, frequencies=tuple(frequencies), factor=factor)
    close(ours, theirs[0].transpose(0, 1), 1e-4)


def test_rope_interleaved_and_partial():
    x, positions = random(5, 2, 10), np.array([[3, 4, 5, 0, 1]], np.int32)
    frequencies = (1.0, 0.1, 0.01)
    pairs = torch.view_as_complex(t(x[..., :6]).reshape(5, 2, 3, 2))
    turn = torch.polar(torch.ones(5, 3), t(positions[0])[:, None] * torch.tensor(frequencies))
    theirs = torch.view_as_real(pairs * turn[:, None]).reshape(5, 2, 6)
    ours = ops.rope(x, positions, frequencies=frequencies, interleaved=True)
    close(ours[..., :6], theirs)
    np.testing.assert_array_equal(ours[..., 6:], x[..., 6:])
    halves = ops.rope(x, positions, frequencies=frequencies)
    np.testing.assert_array_equal(halves[..., 6:], x[..., 6:])


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("silu", F.silu),
        ("gelu", F.gelu),
        ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh")),
        ("relu", F.relu),
    ],
)
def test_activations(name, function):
    with np.errstate(over="ignore"):
        gate, up = random(4, 6) * 4, random(4, 6)
        gate[0, 0] = -200
        close(ops.activation(gate, activation=name), function(t(gate)))
        close(ops.gated_activation(gate, up, activation=name), function(t(gate)) * t(up))
        joined = np.concatenate([gate, up], axis=-1)
        close(ops.split_gated_activation(joined, activation=name), function(t(gate)) * t(up))


def test_elementwise_and_shapes():
    a, b = random(3, 4), random(3, 4)
    close(ops.add(a, b), t(a) + t(b))
    close(ops.mul(a, b), t(a) * t(b))
    close(ops.scale(a, factor=0.3), t(a) * 0.3)
    close(ops.soft_cap(a, cap=2.0), 2 * torch.tanh(t(a) / 2))
    for ours, theirs in zip(ops.split(a, sizes=(1, 3)), torch.split(t(a), [1, 3], -1), strict=True):
        close(ours, theirs)
    assert ops.reshape(a, shape=(2, 2)).shape == (3, 2, 2)


@pytest.mark.parametrize("window", [None, 1, 5])
@pytest.mark.parametrize("soft_cap", [None, 3.0])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "width", "value_width"), [(4, 2, 8, 8), (3, 3, 6, 4)]
)
def test_paged_attention_equals_dense(window, soft_cap, heads, kv_heads, width, value_width):
    size, totals = 3, [(7, 4), (1, 6), (11, 1)]
    layer_group = CacheGroup("g", (2,), kv_heads, width, value_width, window)
    cache = PagedCache(NumpyBackend(), KVLayout(size, "f32", (layer_group,)), (20,), checked=True)
    blocks = list(RNG.permutation(np.arange(1, 20)))
    table = np.zeros((3, 4), np.int32)
    for row, (past, new) in enumerate(totals):
        for place in range(-(-(past + new) // size)):
            table[row, place] = blocks.pop()
    whole = [
        (
            random(p + n, heads, width),
            random(p + n, kv_heads, width),
            random(p + n, kv_heads, value_width),
        )
        for p, n in totals
    ]

    def step(parts):
        lengths = [stop - start for start, stop in parts]
        starts = np.cumsum([0, *lengths]).astype(np.int32)
        past = np.array([start for start, _ in parts], np.int32)
        q, k, v = (
            np.concatenate(
                [rows[i][start:stop] for rows, (start, stop) in zip(whole, parts, strict=True)]
            )
            for i in range(3)
        )
        made = Step(starts, past, (table,), size)
        cache.begin(made)
        return ops.attention_write(
            q, k, v, cache=cache.layer(2), step=made, scale=0.3, window=window, soft_cap=soft_cap
        )

    step([(0, past) for past, _ in totals])
    ours = step([(past, past + new) for past, new in totals])
    theirs = []
    for (q, k, v), (past, new) in zip(whole, totals, strict=True):
        distance = torch.arange(past + new)[:, None] - torch.arange(past + new)
        seen = (distance >= 0) & (distance < (window or 10**6))
        if soft_cap is None:
            y = F.scaled_dot_product_attention(
                *(t(x.transpose(1, 0, 2)) for x in (q, k, v)),
                attn_mask=seen,
                scale=0.3,
                enable_gqa=heads != kv_heads,
            )
        else:
            repeat = heads // kv_heads
            key, value = (t(x).repeat_interleave(repeat, 1).transpose(0, 1) for x in (k, v))
            scores = t(q).transpose(0, 1) @ key.transpose(1, 2) * 0.3
            scores = (soft_cap * torch.tanh(scores / soft_cap)).masked_fill(~seen, -torch.inf)
            y = torch.softmax(scores, -1) @ value
        theirs.append(y.transpose(0, 1)[past:])
    close(ours, torch.cat(theirs))
