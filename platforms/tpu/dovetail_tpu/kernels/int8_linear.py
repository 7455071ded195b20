"""x times an int8 weight in Pallas: the weight stays int8 until it is in the vector memory."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from dovetail_tpu.chips import LinearBlocks
from dovetail_tpu.trace import Array

from .tiling import divisor, rows_of

F32 = jnp.float32


def int8_linear(
    x: Array, weight: Array, scale: Array, *, blocks: LinearBlocks, interpret: bool
) -> Array:
    """x @ weight.T * scale, summed in f32.

    x        [T, I]  f32 or bf16
    weight   [O, I]  i8
    scale    [O]     f32
    returns  [T, O]  f32
    """
    tokens, inputs = x.shape
    outputs = len(weight)
    rows = rows_of(tokens)
    wide, deep = divisor(outputs, blocks.outputs), divisor(inputs, blocks.inputs)
    made: Array = pl.pallas_call(
        _block,
        grid=(tokens // rows, outputs // wide, inputs // deep),
        in_specs=[
            pl.BlockSpec((rows, deep), lambda t, o, i: (t, i)),
            pl.BlockSpec((wide, deep), lambda t, o, i: (o, i)),
            pl.BlockSpec((1, wide), lambda t, o, i: (0, o)),
        ],
        out_specs=pl.BlockSpec((rows, wide), lambda t, o, i: (t, o)),
        out_shape=jax.ShapeDtypeStruct((tokens, outputs), F32),
        scratch_shapes=[pltpu.VMEM((rows, wide), F32)],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        interpret=interpret,
        name="int8_linear",
    )(x, weight, scale[None])
    return made


def _block(x_ref: Any, weight_ref: Any, scale_ref: Any, y_ref: Any, sum_ref: Any) -> None:
    """A block of outputs over a block of inputs."""

    @pl.when(pl.program_id(2) == 0)
    def _() -> None:
        sum_ref[...] = jnp.zeros_like(sum_ref)

    dtype = x_ref.dtype
    sum_ref[...] += lax.dot_general(
        x_ref[...],
        weight_ref[...].astype(dtype),
        (((1,), (1,)), ((), ())),
        precision=lax.Precision.HIGHEST if dtype == F32 else lax.Precision.DEFAULT,
        preferred_element_type=F32,
    )

    @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
    def _() -> None:
        y_ref[...] = sum_ref[...] * scale_ref[...]
