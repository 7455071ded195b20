"""x times an int4 weight in groups, in Pallas: two halves of the inputs share bytes, and are multiplied one after the other.

A group's numbers 0 to 15 are multiplied as they are; its scale and zero are applied to the sums:
sum x (n - zero) scale = (sum x n - zero sum x) scale.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from dovetail_tpu.chips import LinearBlocks
from dovetail_tpu.trace import Array

from .tiling import divisor, rows_of

F32, I32 = jnp.float32, jnp.int32


def int4_linear(
    x: Array,
    weight: Array,
    scale: Array,
    zero: Array,
    *,
    blocks: LinearBlocks,
    interpret: bool,
) -> Array:
    """x @ weight.T, summed in f32.

    x        [T, I]          f32 or bf16
    weight   [O, I / 2]      u8, packed as weights.pack_int4 does
    scale    [O, I / group]  f32
    zero     [O, I / group]  u8
    returns  [T, O]          f32
    """
    tokens, inputs = x.shape
    outputs, half = weight.shape
    group = inputs // scale.shape[1]
    rows, wide = rows_of(tokens), divisor(outputs, blocks.outputs)
    deep = half if half % (8 * group) else divisor(half, max(blocks.inputs, 8 * group), 8 * group)
    steps, groups = half // deep, deep // group
    scales, zeros = scale.T, zero.T.astype(F32)  # [I / group, O]
    grouped = [
        pl.BlockSpec((groups, wide), lambda t, o, i: (i, o)),
        pl.BlockSpec((groups, wide), lambda t, o, i: (i, o)),
    ]
    middle = scales.shape[0] // 2
    made: Array = pl.pallas_call(
        partial(_block, group=group),
        grid=(tokens // rows, outputs // wide, steps),
        in_specs=[
            pl.BlockSpec((rows, deep), lambda t, o, i: (t, i)),
            pl.BlockSpec((rows, deep), lambda t, o, i: (t, i)),
            pl.BlockSpec((wide, deep), lambda t, o, i: (o, i)),
            *grouped,
            *grouped,
        ],
        out_specs=pl.BlockSpec((rows, wide), lambda t, o, i: (t, o)),
        out_shape=jax.ShapeDtypeStruct((tokens, outputs), F32),
        scratch_shapes=[pltpu.VMEM((rows, wide), F32)],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        interpret=interpret,
        name="int4_linear",
    )(
        x[:, :half],
        x[:, half:],
        weight,
        scales[:middle],
        zeros[:middle],
        scales[middle:],
        zeros[middle:],
    )
    return made


def _block(
    low_ref: Any,
    high_ref: Any,
    weight_ref: Any,
    low_scale: Any,
    low_zero: Any,
    high_scale: Any,
    high_zero: Any,
    y_ref: Any,
    sum_ref: Any,
    *,
    group: int,
) -> None:
    """A block of outputs over the groups of a block of bytes."""

    @pl.when(pl.program_id(2) == 0)
    def _() -> None:
        sum_ref[...] = jnp.zeros_like(sum_ref)

    numbers = weight_ref[...].astype(I32)
    halves = (
        (low_ref, numbers & 15, low_scale, low_zero),
        (high_ref, numbers >> 4, high_scale, high_zero),
    )
    for x_ref, nibbles, scale_ref, zero_ref in halves:
        dtype = x_ref.dtype
        exact = lax.Precision.HIGHEST if dtype == F32 else lax.Precision.DEFAULT
        wide = nibbles.astype(F32).astype(dtype)
        for at in range(x_ref.shape[1] // group):
            mine = slice(at * group, (at + 1) * group)
            x = x_ref[:, mine]
            part = lax.dot_general(
                x,
                wide[:, mine],
                (((1,), (1,)), ((), ())),
                precision=exact,
                preferred_element_type=F32,
            )
            total = x.astype(F32).sum(axis=1, keepdims=True)
            sum_ref[...] += (part - total * zero_ref[at : at + 1]) * scale_ref[at : at + 1]

    @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
    def _() -> None:
        y_ref[...] = sum_ref[...]
