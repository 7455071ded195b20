"""Quantised matrix products against dequantised ones, by the interpreter."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch
from dovetail_sdk.packing import unpack_int4
from dovetail_sdk.triton.linear import linear_eight_bits, linear_four_bits
from dovetail_sdk.triton.quantised import FourBits, in_blocks
from steps import DTYPES, ERROR, error, random_tensor

COUNTS = (0, 1, 5, 40, 70)
"""Tokens: none, one, few, more than a tile, and more than the quantised kernels are for."""


def planes(rows, inputs, group, seed=0):
    random = np.random.default_rng(seed)
    return (
        random.integers(0, 256, (rows, inputs // 2), np.uint8),
        random.uniform(0.01, 0.1, (rows, inputs // group)).astype(np.float32),
        random.integers(0, 16, (rows, inputs // group), np.uint8),
    )


def check(y, x, weight, bias, dtype, dense):
    wanted = x.float().numpy() @ weight.T + (0 if bias is None else bias.numpy())
    assert y.dtype == dtype
    if len(x):
        # a dense weight of 16 bits is itself rounded
        assert error(y, wanted) < (3 if dense else 1) * ERROR[dtype]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize(("rows", "inputs", "group"), [(40, 256, 128), (7, 640, 32)])
def test_int4_products_are_those_of_the_dequantised_weight(count, dtype, rows, inputs, group):
    data, scale, zero = planes(rows, inputs, group)
    numbers = unpack_int4(data).reshape(rows, -1, group).astype(np.float32)
    weight = ((numbers - zero[..., None]) * scale[..., None]).reshape(rows, -1)
    x, bias = random_tensor((count, inputs), dtype), random_tensor((rows,), seed=4)
    y = linear_four_bits(
        x, in_blocks(torch.tensor(data)), torch.tensor(scale.T.copy()), torch.tensor(zero.T.copy()),
        bias, group=group, architecture="emulated",
    )  # fmt: skip
    check(y, x, weight, bias, dtype, dense=group < 128 or count > 64)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("form", ["int8", "e4m3fn", "e4m3fn bits", "e4m3fnuz"])
def test_products_of_eight_bits_are_those_of_the_dequantised_weight(count, form):
    """Every one of the 254 numbers of e4m3fn is in the weight."""
    rows, inputs = 37, 200
    dtype = torch.bfloat16 if form != "int8" else torch.float32
    random = np.random.default_rng(1)
    if form == "int8":
        host = random.integers(-128, 128, (rows, inputs), np.int8)
        numbers, data = host.astype(np.float32), torch.tensor(host)
    else:
        kind = ml_dtypes.float8_e4m3fnuz if form.endswith("uz") else ml_dtypes.float8_e4m3fn
        bits = np.resize(np.arange(256, dtype=np.uint8), (rows, inputs))
        bits = np.where(np.isfinite(bits.view(kind).astype(np.float32)), bits, 0)
        numbers, data = bits.view(kind).astype(np.float32), torch.tensor(bits)
        if not form.endswith("bits"):
            data = data.view(getattr(torch, f"float8_{form}"))
    scale = random.uniform(0.01, 0.1, rows).astype(np.float32)
    x = random_tensor((count, inputs), dtype)
    y = linear_eight_bits(x, data, torch.tensor(scale), None, architecture="emulated")
    check(y, x, numbers * scale[:, None], None, dtype, dense=count > 64)


@pytest.mark.parametrize("architecture", ["sm_90", "gfx942", "gfx1100"])
def test_products_are_right_with_the_tuning_of_every_kind_of_chip(architecture):
    data, scale, zero = planes(130, 384, 128)
    numbers = unpack_int4(data).reshape(130, -1, 128).astype(np.float32)
    weight = ((numbers - zero[..., None]) * scale[..., None]).reshape(130, -1)
    packed = FourBits(
        in_blocks(torch.tensor(data)),
        torch.tensor(scale.T.copy()),
        torch.tensor(zero.T.copy()),
        128,
    )
    int8 = np.random.default_rng(2).integers(-128, 128, (130, 384), np.int8)
    for count in (1, 17, 90):
        x = random_tensor((count, 384), torch.bfloat16)
        check(packed.product(x, None, architecture), x, weight, None, torch.bfloat16, dense=False)
        y = linear_eight_bits(
            x, torch.tensor(int8), torch.ones(130), None, architecture=architecture
        )
        check(y, x, int8.astype(np.float32), None, torch.bfloat16, dense=False)
