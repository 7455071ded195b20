"""Matrix products with quantised weights, from one row of activations to many.

Weights are the left operand, [outputs, inputs] times [inputs, tokens]: they come from memory in their own form and become
numbers in registers, where the matrix units can read a left operand. Few tokens leave too few tiles for the device, so
the inputs are split and a second kernel adds the parts. Many tokens are left to the vendor's dense product, after the
weight was made dense once: its time hides behind theirs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from dovetail_sdk.tuning import Parameter

from .launch import ceil_div, launch, power_of_two
from .tables import tuned, whole

BLOCK = 128
"""Inputs that share a run of packed int4 bytes: byte j of a block holds input j (low) and j + BLOCK / 2 (high)."""


# ------------------------------------------------------------------------------------------ bytes as numbers


@triton.jit
def eight_bits(data, dtype: tl.constexpr):
    """int8, fp8 of the device's own, or e4m3fn kept as u8, as numbers of a float type.

    e4m3fn has the bits of an f16 whose exponent is 8 less: moved into place and multiplied by 2^8, subnormals included.
    """
    if data.dtype == tl.uint8:
        wide = data.to(tl.uint16)
        bits = ((wide & 0x80) << 8) | ((wide & 0x7F) << 7)
        return (bits.to(tl.float16, bitcast=True) * 256.0).to(dtype)
    else:
        return data.to(dtype)


@triton.jit
def four_bits(data, HIGH: tl.constexpr, dtype: tl.constexpr):
    """16 + the low or high four bits of bytes, put into the mantissa of 16.0: no conversion, and exact."""
    if dtype == tl.bfloat16:
        wide = data.to(tl.uint16)
        bits = (wide >> 1) & 0x78 if HIGH else (wide << 3) & 0x78
        return (bits | 0x4180).to(tl.bfloat16, bitcast=True)
    elif dtype == tl.float16:
        wide = data.to(tl.uint16)
        bits = (wide << 2) & 0x3C0 if HIGH else (wide << 6) & 0x3C0
        return (bits | 0x4C00).to(tl.float16, bitcast=True)
    else:
        wide = data.to(tl.uint32)
        bits = (wide << 15) & 0x780000 if HIGH else (wide << 19) & 0x780000
        return (bits | 0x41800000).to(tl.float32, bitcast=True)


@triton.jit
def grouped(values, row, rows, first, inputs, GROUP: tl.constexpr, COUNT: tl.constexpr):
    """A plane [inputs / GROUP, rows] spread over COUNT inputs from `first`, for rows [BN]: f32 [BN, COUNT]."""
    groups: tl.constexpr = COUNT // GROUP
    group = first // GROUP + tl.arange(0, groups)
    there = (row[:, None] < rows) & (group[None, :] < inputs // GROUP)
    plane = tl.load(values + group[None, :] * rows + row[:, None], mask=there, other=0).to(
        tl.float32
    )
    wide = tl.broadcast_to(plane[:, :, None], (row.shape[0], groups, GROUP))
    return tl.reshape(wide, (row.shape[0], COUNT))


# ------------------------------------------------------------------------------------------ few tokens


@triton.jit
def _finish(
    acc, scale, bias, y, parts, split, row, token, rows, count,
    SCALED: tl.constexpr, BIAS: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """Store sums [BN, BM]: whole ones into y [T, O], those of a split into parts [splits, T, O] f32."""
    inside = (row[:, None] < rows) & (token[None, :] < count)
    at = token[None, :].to(tl.int64) * rows + row[:, None]
    if SPLIT:
        tl.store(parts + split.to(tl.int64) * count * rows + at, acc, mask=inside)
    else:
        if SCALED:
            acc *= tl.load(scale + row, mask=row < rows, other=0.0)[:, None]
        if BIAS:
            acc += tl.load(bias + row, mask=row < rows, other=0.0).to(tl.float32)[:, None]
        tl.store(y + at, acc.to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["count", "splits"])
def _linear_eight_bits(
    x, data, scale, bias, y, parts, count, rows, inputs, splits,
    BN: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr, EVEN: tl.constexpr,
    BIAS: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """Grid (ceil(O / BN), ceil(T / BM), splits). x [T, I], data [O, I], scale [O]; count is T, rows O, inputs I."""
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    token = tl.program_id(1) * BM + tl.arange(0, BM)
    split = tl.program_id(2)
    share = tl.cdiv(tl.cdiv(inputs, BK), splits) * BK
    begin = split * share
    end = tl.minimum(begin + share, inputs)
    column = tl.arange(0, BK)
    data += row.to(tl.int64)[:, None] * inputs + column[None, :]
    x += token.to(tl.int64)[None, :] * inputs + column[:, None]
    has_row, has_token = row[:, None] < rows, token[None, :] < count
    acc = tl.zeros([BN, BM], tl.float32)
    for first in tl.range(begin, end, BK):
        if EVEN:
            w = tl.load(data + first, mask=has_row, other=0.0)
            a = tl.load(x + first, mask=has_token, other=0.0)
        else:
            left = column < inputs - first
            w = tl.load(data + first, mask=has_row & left[None, :], other=0.0)
            a = tl.load(x + first, mask=has_token & left[:, None], other=0.0)
        acc = tl.dot(eight_bits(w, a.dtype), a, acc, input_precision="ieee")
    _finish(acc, scale, bias, y, parts, split, row, token, rows, count, True, BIAS, SPLIT)


@triton.jit(do_not_specialize=["count", "splits"])
def _linear_four_bits(
    x, data, scale, zero, bias, y, parts, count, rows, inputs, splits,
    GROUP: tl.constexpr, HALF: tl.constexpr, BN: tl.constexpr, BM: tl.constexpr,
    BIAS: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """Grid (ceil(O / BN), ceil(T / BM), splits). x [T, I], data [O, I / 2] in blocks, scale and zero [I / GROUP, O].

    Groups of whole blocks are scaled after the product, which is then one of whole numbers:
    sum((q - z) s x) = s (sum((16 + q) x) - (16 + z) sum(x)).
    """
    BK: tl.constexpr = 2 * HALF
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    token = tl.program_id(1) * BM + tl.arange(0, BM)
    split = tl.program_id(2)
    share = tl.cdiv(inputs // BK, splits) * BK
    begin = split * share
    end = tl.minimum(begin + share, inputs)
    column = tl.arange(0, HALF)
    data += row.to(tl.int64)[:, None] * (inputs // 2) + column[None, :]
    x += token.to(tl.int64)[None, :] * inputs + column[:, None]
    has_row, has_token = row < rows, token[None, :] < count
    acc = tl.zeros([BN, BM], tl.float32)
    for first in tl.range(begin, end, BK):
        packed = tl.load(data + first // 2, mask=has_row[:, None], other=0)
        low = tl.load(x + first, mask=has_token, other=0.0)
        high = tl.load(x + first + HALF, mask=has_token, other=0.0)
        w_low = four_bits(packed, False, low.dtype)
        w_high = four_bits(packed, True, low.dtype)
        if GROUP % BK == 0:
            at = first // GROUP * rows + row
            s = tl.load(scale + at, mask=has_row, other=0.0).to(tl.float32)
            z = tl.load(zero + at, mask=has_row, other=0).to(tl.float32)
            part = tl.dot(w_low, low, input_precision="ieee")
            part = tl.dot(w_high, high, part, input_precision="ieee")
            sums = tl.sum(low.to(tl.float32), 0) + tl.sum(high.to(tl.float32), 0)
            acc += s[:, None] * (part - (16.0 + z)[:, None] * sums[None, :])
        else:
            s = grouped(scale, row, rows, first, inputs, GROUP, HALF)
            z = grouped(zero, row, rows, first, inputs, GROUP, HALF) + 16.0
            w_low = ((w_low.to(tl.float32) - z) * s).to(low.dtype)
            acc = tl.dot(w_low, low, acc, input_precision="ieee")
            s = grouped(scale, row, rows, first + HALF, inputs, GROUP, HALF)
            z = grouped(zero, row, rows, first + HALF, inputs, GROUP, HALF) + 16.0
            w_high = ((w_high.to(tl.float32) - z) * s).to(low.dtype)
            acc = tl.dot(w_high, high, acc, input_precision="ieee")
    _finish(acc, scale, bias, y, parts, split, row, token, rows, count, False, BIAS, SPLIT)


@triton.jit(do_not_specialize=["count", "splits"])
def _linear_join(
    parts, scale, bias, y, count, rows, splits,
    SCALED: tl.constexpr, BIAS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Grid (ceil(O / BLOCK), T): add the parts [splits, T, O] in order, so that the sum is always the same."""
    token = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = row < rows
    at = token * rows + row
    total = tl.zeros([BLOCK], tl.float32)
    step = count.to(tl.int64) * rows
    for split in tl.range(0, splits):
        total += tl.load(parts + split * step + at, mask=inside, other=0.0)
    if SCALED:
        total *= tl.load(scale + row, mask=inside, other=0.0)
    if BIAS:
        total += tl.load(bias + row, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + at, total.to(y.dtype.element_ty), mask=inside)


# ------------------------------------------------------------------------------------------ many tokens


@triton.jit
def _dense_eight_bits(data, scale, w, rows, inputs, BN: tl.constexpr, BK: tl.constexpr):
    """Grid (ceil(O / BN), ceil(I / BK)): w = data * scale."""
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    column = tl.program_id(1) * BK + tl.arange(0, BK)
    inside = (row[:, None] < rows) & (column[None, :] < inputs)
    at = row.to(tl.int64)[:, None] * inputs + column[None, :]
    number = eight_bits(tl.load(data + at, mask=inside, other=0.0), tl.float32)
    number *= tl.load(scale + row, mask=row < rows, other=0.0)[:, None]
    tl.store(w + at, number.to(w.dtype.element_ty), mask=inside)


@triton.jit
def _dense_four_bits(
    data, scale, zero, w, rows, inputs, GROUP: tl.constexpr, HALF: tl.constexpr, BN: tl.constexpr
):
    """Grid (ceil(O / BN), I / BLOCK): w = (data - zero) * scale."""
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    first = tl.program_id(1) * 2 * HALF
    column = tl.arange(0, HALF)
    has_row = row[:, None] < rows
    at = row.to(tl.int64)[:, None] * inputs + first + column[None, :]
    packed_at = row.to(tl.int64)[:, None] * (inputs // 2) + first // 2 + column[None, :]
    packed = tl.load(data + packed_at, mask=has_row, other=0)
    for high in tl.static_range(2):
        number = four_bits(packed, high == 1, tl.float32)
        begin = first + high * HALF
        if GROUP <= HALF:
            s = grouped(scale, row, rows, begin, inputs, GROUP, HALF)
            z = grouped(zero, row, rows, begin, inputs, GROUP, HALF)
        else:
            group_at = begin // GROUP * rows + row
            s = tl.load(scale + group_at, mask=row < rows, other=0.0).to(tl.float32)[:, None]
            z = tl.load(zero + group_at, mask=row < rows, other=0).to(tl.float32)[:, None]
        number = (number - (16.0 + z)) * s
        tl.store(w + at + high * HALF, number.to(w.dtype.element_ty), mask=has_row)


# ------------------------------------------------------------------------------------------ launchers


def linear_eight_bits(
    x: Tensor, data: Tensor, scale: Tensor, bias: Tensor | None, *, architecture: str
) -> Tensor:
    """x @ (data * scale).T + bias, summed in f32.

    x        [T, I]  f32, bf16 or f16, contiguous
    data     [O, I]  int8, an fp8 type of the device's, or u8 that holds e4m3fn bits
    scale    [O]     f32
    bias     [O]     or None
    returns  [T, O]  x's dtype
    """
    rows, inputs = data.shape
    tuning = tuned("linear_eight_bits", architecture, T=power_of_two(len(x)))
    if len(x) > whole(tuning, "most"):
        w = torch.empty((rows, inputs), dtype=x.dtype, device=x.device)
        launch(
            _dense_eight_bits, (ceil_div(rows, 32), ceil_div(inputs, 128)),
            data, scale, w, rows, inputs, BN=32, BK=128, tuning={"warps": 4},
        )  # fmt: skip
        return _product(x, w, bias)
    block = whole(tuning, "inputs")
    run = _Run(x, rows, ceil_div(inputs, block), bias, tuning)
    launch(
        _linear_eight_bits, run.grid,
        x, data, scale, run.bias, run.y, run.parts, len(x), rows, inputs, run.splits,
        BK=block, EVEN=inputs % block == 0, tuning=tuning, **run.constants,
    )  # fmt: skip
    return run.joined(scale)


def linear_four_bits(
    x: Tensor,
    data: Tensor,
    scale: Tensor,
    zero: Tensor,
    bias: Tensor | None,
    *,
    group: int,
    architecture: str,
) -> Tensor:
    """x @ ((numbers of data - zero) * scale).T + bias, summed in f32.

    x        [T, I]          f32, bf16 or f16, contiguous; I is a multiple of BLOCK
    data     [O, I / 2]      u8; byte j of a block of BLOCK inputs holds input j (low) and j + BLOCK / 2 (high)
    scale    [I / group, O]  f32 or f16
    zero     [I / group, O]  u8
    group    a divisor of BLOCK / 2 that is no less than 16, or a multiple of BLOCK
    bias     [O]             or None
    returns  [T, O]          x's dtype
    """
    rows, inputs = data.shape[0], 2 * data.shape[1]
    tuning = tuned("linear_four_bits", architecture, T=power_of_two(len(x)))
    if len(x) > whole(tuning, "most"):
        w = torch.empty((rows, inputs), dtype=x.dtype, device=x.device)
        launch(
            _dense_four_bits, (ceil_div(rows, 32), inputs // BLOCK),
            data, scale, zero, w, rows, inputs, GROUP=group, HALF=BLOCK // 2, BN=32, tuning={"warps": 4},
        )  # fmt: skip
        return _product(x, w, bias)
    run = _Run(x, rows, inputs // BLOCK, bias, tuning)
    launch(
        _linear_four_bits, run.grid,
        x, data, scale, zero, run.bias, run.y, run.parts, len(x), rows, inputs, run.splits,
        GROUP=group, HALF=BLOCK // 2, tuning=tuning, **run.constants,
    )  # fmt: skip
    return run.joined(None)


def _product(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    return torch.nn.functional.linear(x, w, None if bias is None else bias.to(x.dtype))


class _Run:
    """What the launches of one product share: the grid, how its inputs are split, and where its sums go.

    pieces  of the inputs that can be summed apart
    """

    def __init__(
        self,
        x: Tensor,
        rows: int,
        pieces: int,
        bias: Tensor | None,
        tuning: Mapping[str, Parameter],
    ) -> None:
        outputs, tokens = whole(tuning, "outputs"), whole(tuning, "tokens")
        tiles = (ceil_div(rows, outputs), ceil_div(len(x), tokens))
        wanted = ceil_div(whole(tuning, "programs"), max(1, tiles[0] * tiles[1]))
        self.splits = max(1, min(wanted, ceil_div(pieces, whole(tuning, "least"))))
        self.grid = (*tiles, self.splits)
        self.y = torch.empty((len(x), rows), dtype=x.dtype, device=x.device)
        self.bias = self.y if bias is None else bias
        self.parts = self.y
        if self.splits > 1:
            shape = (self.splits, len(x), rows)
            self.parts = torch.empty(shape, dtype=torch.float32, device=x.device)
        self._has_bias = bias is not None
        self.constants = {
            "BN": outputs,
            "BM": tokens,
            "BIAS": self._has_bias,
            "SPLIT": self.splits > 1,
        }

    def joined(self, scale: Tensor | None) -> Tensor:
        """The result, once its parts are added."""
        if self.splits > 1:
            count, rows = self.y.shape
            launch(
                _linear_join, (ceil_div(rows, 256), count),
                self.parts, self.bias if scale is None else scale, self.bias, self.y, count, rows,
                self.splits, SCALED=scale is not None, BIAS=self._has_bias, BLOCK=256,
                tuning={"warps": 4},
            )  # fmt: skip
        return self.y
