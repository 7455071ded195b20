"""Norms over the last axis, one pass over memory: the row of a program stays in registers."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .launch import Rows, ceil_div, launch, power_of_two
from .tables import tuned, whole

WIDEST = 32768
"""A row must fit the registers of a program."""


@triton.jit(do_not_specialize=["count"])
def _rms_norm(
    x, residual, weight, y, total, count, outer_stride, eps,
    W: tl.constexpr, WP: tl.constexpr, ROWS: tl.constexpr, ADD: tl.constexpr,
    INNER: tl.constexpr, INNER_STRIDE: tl.constexpr,
):  # fmt: skip
    """Grid (ceil(count / ROWS)): ROWS rows of W; those of x lie as Rows says, all others end to end."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WP)
    at = row[:, None] * W + column[None, :]
    begin = row // INNER * outer_stride + row % INNER * INNER_STRIDE
    inside = (row[:, None] < count) & (column[None, :] < W)
    value = tl.load(x + begin[:, None] + column[None, :], mask=inside, other=0.0).to(tl.float32)
    if ADD:
        value += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(total + at, value.to(total.dtype.element_ty), mask=inside)
    factor = tl.load(weight + column, mask=column < W, other=0.0).to(tl.float32)
    square = tl.sum(value * value, 1) / W
    scaled = value / tl.sqrt_rn(square + eps)[:, None] * factor[None, :]
    tl.store(y + at, scaled.to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["count"])
def _layer_norm(
    x, weight, bias, y, count, outer_stride, eps,
    W: tl.constexpr, WP: tl.constexpr, ROWS: tl.constexpr, BIAS: tl.constexpr,
    INNER: tl.constexpr, INNER_STRIDE: tl.constexpr,
):  # fmt: skip
    """Grid (ceil(count / ROWS)): ROWS rows of W; those of x lie as Rows says."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WP)
    at = row[:, None] * W + column[None, :]
    begin = row // INNER * outer_stride + row % INNER * INNER_STRIDE
    inside = (row[:, None] < count) & (column[None, :] < W)
    value = tl.load(x + begin[:, None] + column[None, :], mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(value, 1) / W
    centred = tl.where(inside, value - mean[:, None], 0.0)
    variance = tl.sum(centred * centred, 1) / W
    factor = tl.load(weight + column, mask=column < W, other=0.0).to(tl.float32)
    scaled = centred / tl.sqrt_rn(variance + eps)[:, None] * factor[None, :]
    if BIAS:
        scaled += tl.load(bias + column, mask=column < W, other=0.0).to(tl.float32)[None, :]
    tl.store(y + at, scaled.to(y.dtype.element_ty), mask=inside)


def rms_norm(x: Tensor, *, weight: Tensor, eps: float, architecture: str) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis.

    x        [*, W]  f32, bf16 or f16, laid out as Rows
    weight   [W]     any float
    returns  [*, W]  x's dtype; statistics in f32

    Source: Zhang and Sennrich 2019, equation 4.
    """
    return _rms(x, None, weight, eps, architecture)[0]


def add_rms_norm(
    x: Tensor, residual: Tensor, *, weight: Tensor, eps: float, architecture: str
) -> tuple[Tensor, Tensor]:
    """rms_norm(x + residual) and the sum itself, both [*, W]; the norm is of the sum before it is rounded."""
    return _rms(x, residual.contiguous(), weight, eps, architecture)


def _rms(
    x: Tensor, residual: Tensor | None, weight: Tensor, eps: float, architecture: str
) -> tuple[Tensor, Tensor]:
    given, width = Rows.of(x), x.shape[-1]
    y = x.new_empty(x.shape)
    total = y if residual is None else x.new_empty(x.shape)
    tuning = tuned("norms", architecture, W=width)
    rows = whole(tuning, "rows")
    launch(
        _rms_norm, (ceil_div(given.count, rows),),
        given.array, x if residual is None else residual, weight, y, total,
        given.count, given.outer_stride, eps,
        W=width, WP=power_of_two(width), ROWS=rows, ADD=residual is not None,
        INNER=given.inner, INNER_STRIDE=given.inner_stride, tuning=tuning,
    )  # fmt: skip
    return y, total


def layer_norm(
    x: Tensor, *, weight: Tensor, bias: Tensor | None = None, eps: float, architecture: str
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis; the variance divides by W.

    x        [*, W]  f32, bf16 or f16, laid out as Rows
    weight   [W]     any float
    bias     [W]     or None
    returns  [*, W]  x's dtype; statistics in f32

    Source: Ba, Kiros and Hinton 2016, equation 3.
    """
    given, width = Rows.of(x), x.shape[-1]
    y = x.new_empty(x.shape)
    tuning = tuned("norms", architecture, W=width)
    rows = whole(tuning, "rows")
    launch(
        _layer_norm, (ceil_div(given.count, rows),),
        given.array, weight, weight if bias is None else bias, y,
        given.count, given.outer_stride, eps,
        W=width, WP=power_of_two(width), ROWS=rows, BIAS=bias is not None,
        INNER=given.inner, INNER_STRIDE=given.inner_stride, tuning=tuning,
    )  # fmt: skip
    return y
