"""Norms and activations against the reference, by the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dovetail_sdk.reference import ops as reference
from dovetail_sdk.triton import kernels
from steps import DTYPES, ERROR, error, random_tensor


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("shape", [(5, 64), (17, 37), (3, 1), (9, 4, 128), (2, 5000)])
def test_norms_are_the_references(dtype, shape):
    x, residual = random_tensor(shape, dtype), random_tensor(shape, dtype, seed=3)
    weight, bias = random_tensor(shape[-1:], seed=4), random_tensor(shape[-1:], seed=5)
    table, eps = kernels("emulated"), 1e-5
    host = (x.float().numpy(), residual.float().numpy())
    given = {"weight": weight.numpy(), "eps": eps}
    pairs = [
        (
            table["rms_norm"].call(x, weight=weight, eps=eps),
            reference.rms_norm(host[0], **given),
        ),
        (
            table["layer_norm"].call(x, weight=weight, bias=bias, eps=eps),
            reference.layer_norm(host[0], bias=bias.numpy(), **given),
        ),
        (
            table["layer_norm"].call(x, weight=weight, eps=eps),
            reference.layer_norm(host[0], **given),
        ),
        *zip(
            table["add_rms_norm"].call(x, residual, weight=weight, eps=eps),
            reference.add_rms_norm(*host, **given),
            strict=True,
        ),
    ]
    for found, wanted in pairs:
        assert found.dtype == dtype
        assert error(found, wanted) < ERROR[dtype]


@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("dtype", DTYPES.values())
def test_activations_are_the_references_at_every_magnitude(activation, dtype):
    x = random_tensor((7, 3, 66), dtype) * torch.tensor([0.05, 1.0, 100.0])[:, None].to(dtype)
    table, name = kernels("emulated"), {"activation": activation}
    host = x.float().numpy()
    gate, up = x[..., :33].contiguous(), x[..., 33:].contiguous()
    for found, wanted in (
        (table["activation"].call(x, **name), reference.activation(host, **name)),
        (
            table["gated_activation"].call(gate, up, **name),
            reference.gated_activation(gate.float().numpy(), up.float().numpy(), **name),
        ),
        (
            table["split_gated_activation"].call(x, **name),
            reference.split_gated_activation(host, **name),
        ),
    ):
        assert found.dtype == dtype
        for part in range(3):
            assert error(found[:, part], np.asarray(wanted)[:, part]) < ERROR[dtype]


def test_pieces_of_a_split_are_read_where_they_lie():
    """Heads and rows that lie further apart than they are wide."""
    q, k, v = torch.split(random_tensor((5, 96)), [64, 16, 16], dim=-1)
    heads, weight, table = q.reshape(5, 4, 16), random_tensor((16,), seed=4), kernels("emulated")
    assert not heads.is_contiguous()
    norm, name = {"weight": weight, "eps": 1e-5}, {"activation": "silu"}
    for call, inputs, given in (
        ("rms_norm", (heads,), norm),
        ("layer_norm", (heads,), norm),
        ("add_rms_norm", (k, v), norm),
        ("activation", (k,), name),
        ("gated_activation", (k, v), name),
        ("split_gated_activation", (q,), name),
    ):
        found = table[call].call(*inputs, **given)
        wanted = table[call].call(*(part.contiguous() for part in inputs), **given)
        pairs = zip(found, wanted, strict=True) if call == "add_rms_norm" else [(found, wanted)]
        assert all(torch.equal(one, other) for one, other in pairs), call
