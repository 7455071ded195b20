"""Activations, plain and gated, elementwise in f32."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .launch import ceil_div, launch
from .tables import tuned, whole

KINDS = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3}


@triton.jit
def _tanh(x):
    """By the exponential of a number that is not positive, which cannot overflow."""
    fall = tl.exp(-2.0 * tl.abs(x))
    bent = (1.0 - fall) / (1.0 + fall)
    return tl.where(x < 0, -bent, bent)


@triton.jit
def _active(x, KIND: tl.constexpr):
    if KIND == 0:
        return x / (1.0 + tl.exp(-x))
    elif KIND == 1:
        return x * 0.5 * (1.0 + tl.erf(x * 0.7071067811865476))
    elif KIND == 2:
        return x * 0.5 * (1.0 + _tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
    else:
        return tl.where(x > 0, x, tl.where(x == x, 0.0, x))


@triton.jit(do_not_specialize=["count"])
def _activation(
    gate, up, y, count,
    F: tl.constexpr, GATE_STRIDE: tl.constexpr, UP_STRIDE: tl.constexpr,
    KIND: tl.constexpr, GATED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Grid (ceil(count / BLOCK)): numbers of y [rows, F]; rows of gate and up are STRIDE apart."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    row, column = at // F, at % F
    value = tl.load(gate + row * GATE_STRIDE + column, mask=inside, other=0.0).to(tl.float32)
    value = _active(value, KIND)
    if GATED:
        value *= tl.load(up + row * UP_STRIDE + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=inside)


def activation(x: Tensor, *, activation: str, architecture: str) -> Tensor:
    """silu, gelu (by erf), gelu_tanh or relu of x [*]; returns x's shape and dtype.

    Source: Hendrycks and Gimpel 2016; Elfwing et al. 2017 (silu).
    """
    y = x.new_empty(x.shape)
    x = _in_rows(x)
    _launch(x, x, y, activation, False, architecture)
    return y


def gated_activation(gate: Tensor, up: Tensor, *, activation: str, architecture: str) -> Tensor:
    """activation(gate) * up; gate and up [*, F]; returns [*, F].

    Source: Shazeer 2020, section 2.
    """
    y = gate.new_empty(gate.shape)
    _launch(_in_rows(gate), _in_rows(up), y, activation, True, architecture)
    return y


def split_gated_activation(x: Tensor, *, activation: str, architecture: str) -> Tensor:
    """The first half of the last axis is gate, the second up: x [*, 2F] -> [*, F]."""
    width = x.shape[-1] // 2
    y = x.new_empty((*x.shape[:-1], width))
    rows = _in_rows(x)
    _launch(rows[:, :width], rows[:, width:], y, activation, True, architecture)
    return y


def _in_rows(x: Tensor) -> Tensor:
    """[*, W] as [rows, W]; rows may lie further apart than they are wide, as those of a split's pieces do."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(1) == 1 else rows.contiguous()


def _launch(
    gate: Tensor,
    up: Tensor,
    y: Tensor,
    activation: str,
    gated: bool,
    architecture: str,
) -> None:
    """gate and up are [rows, F]."""
    width = y.shape[-1]
    tuning = tuned("activations", architecture)
    block = whole(tuning, "block")
    launch(
        _activation, (ceil_div(y.numel(), block),),
        gate, up, y, y.numel(),
        F=width, GATE_STRIDE=gate.stride(0), UP_STRIDE=up.stride(0),
        KIND=KINDS[activation], GATED=gated, BLOCK=block, tuning=tuning,
    )  # fmt: skip
