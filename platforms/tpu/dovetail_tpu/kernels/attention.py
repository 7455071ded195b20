"""Ragged paged attention in Pallas: any mix of rows with one and with many new tokens in one call.

The grid is over tiles, new tokens of one row; a tile reads its row's blocks from the cache by itself, some at a time, two
times as many buffered, and no more of them than the row has.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from dovetail_tpu.trace import Array, Layer, Step

F32, I32 = jnp.float32, jnp.int32
HIDDEN = -1e30


def attention(
    step: Step,
    q: Array,
    layer: Layer,
    *,
    scale: float,
    value_width: int,
    window: int | None,
    soft_cap: float | None,
) -> Array:
    """As cached.attend.

    q        [X, K, Q * G, D]    queries of a tile, the G heads of a key head side by side
    cache    [L, B, K, S, W]     of the step, a key and its value side by side
    returns  [X, K, Q * G, Dv]   f32

    Source: Milakov and Gimelshein 2018 (online softmax); Dao 2023, algorithm 1 (tiling).
    """
    cache, feed = step.caches[layer.group], step.feed
    tiles, kv_heads, rows, width = q.shape
    size, wide = cache.shape[3], cache.shape[4]
    table = feed[f"table.{layer.group}"]
    blocks = max(1, min(table.shape[1], step.settings.chip.attention.kv_tokens // size))
    body = partial(
        _tile,
        scale=scale,
        window=window,
        soft_cap=soft_cap,
        group=rows // step.bucket.query_tokens,
        blocks=blocks,
    )
    padded = jnp.pad(q, ((0, 0), (0, 0), (0, 0), (0, wide - width)))
    y = pl.pallas_call(
        body,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=4,
            grid=(tiles,),
            in_specs=[
                pl.BlockSpec(
                    (None, 1, table.shape[1]),
                    lambda x, row, *_: (row[x], 0, 0),
                    memory_space=pltpu.SMEM,
                ),
                pl.BlockSpec((None, kv_heads, rows, wide), lambda x, *_: (x, 0, 0, 0)),
                pl.BlockSpec(memory_space=pl.ANY),
            ],
            out_specs=pl.BlockSpec((None, kv_heads, rows, wide), lambda x, *_: (x, 0, 0, 0)),
            scratch_shapes=[
                pltpu.VMEM((2, blocks, kv_heads, size, wide), cache.dtype),
                pltpu.SemaphoreType.DMA((2, blocks)),
                pltpu.VMEM((kv_heads, rows, 1), F32),
                pltpu.VMEM((kv_heads, rows, 1), F32),
                pltpu.VMEM((kv_heads, rows, wide), F32),
            ],
        ),
        out_shape=jax.ShapeDtypeStruct((tiles, kv_heads, rows, wide), F32),
        interpret=step.settings.interpreted,
        name="ragged_paged_attention",
    )(
        feed["tile_row"],
        feed["tile_position"],
        feed["tile_count"],
        jnp.asarray(layer.place, I32).reshape(1),
        table[:, None, :],
        padded,
        cache,
    )
    return y[..., width : width + value_width]


def _tile(
    row_ref: Any,
    position_ref: Any,
    count_ref: Any,
    place_ref: Any,
    table_ref: Any,
    q_ref: Any,
    cache_ref: Any,
    y_ref: Any,
    buffer_ref: Any,
    arrived: Any,
    highest_ref: Any,
    total_ref: Any,
    sum_ref: Any,
    *,
    scale: float,
    window: int | None,
    soft_cap: float | None,
    group: int,
    blocks: int,
) -> None:
    """One tile: blocks of the row come in while those before them are attended to."""
    tile = pl.program_id(0)
    first, count = position_ref[tile], count_ref[tile]
    end = first + count
    low = 0 if window is None else jnp.maximum(first - window + 1, 0)
    span = blocks * buffer_ref.shape[3]
    begin = lax.div(low, span)
    stop = jnp.where(count > 0, lax.div(end + span - 1, span), begin)
    highest_ref[...] = jnp.full_like(highest_ref, HIDDEN)
    total_ref[...] = jnp.zeros_like(total_ref)
    sum_ref[...] = jnp.zeros_like(sum_ref)

    def copies(chunk: Any) -> list[Any]:
        slot = lax.rem(chunk, 2)
        found = []
        for at in range(blocks):
            block = table_ref[0, jnp.minimum(chunk * blocks + at, table_ref.shape[1] - 1)]
            source = cache_ref.at[place_ref[0], block]
            found.append(
                pltpu.make_async_copy(source, buffer_ref.at[slot, at], arrived.at[slot, at])
            )
        return found

    @pl.when(begin < stop)
    def begun() -> None:
        for copy in copies(begin):
            copy.start()

    def chunk(index: Any, _: None) -> None:
        @pl.when(index + 1 < stop)
        def following() -> None:
            for copy in copies(index + 1):
                copy.start()

        for copy in copies(index):
            copy.wait()
        limits = (index * span, low, end, first)
        _attend(
            q_ref,
            buffer_ref.at[lax.rem(index, 2)],
            (highest_ref, total_ref, sum_ref),
            limits,
            scale=scale,
            window=window,
            soft_cap=soft_cap,
            group=group,
        )

    lax.fori_loop(begin, stop, chunk, None)
    total = total_ref[...]
    y_ref[...] = sum_ref[...] / jnp.where(total == 0, 1, total)


def _attend(
    q_ref: Any,
    kv_ref: Any,
    state: tuple[Any, Any, Any],
    limits: tuple[Any, Any, Any, Any],
    *,
    scale: float,
    window: int | None,
    soft_cap: float | None,
    group: int,
) -> None:
    """Add a chunk [blocks, K, S, W] to the softmax so far, one key head after the other."""
    highest_ref, total_ref, sum_ref = state
    start, low, end, first = limits
    blocks, kv_heads, size, wide = kv_ref.shape
    span, rows = blocks * size, q_ref.shape[1]
    dtype = q_ref.dtype
    exact = lax.Precision.HIGHEST if dtype == F32 else lax.Precision.DEFAULT
    at = start + lax.broadcasted_iota(I32, (span, wide), 0)
    real = (at >= low) & (at < end)  # of others' tokens a chunk may hold NaN
    position = start + lax.broadcasted_iota(I32, (rows, span), 1)
    own = first + lax.div(lax.broadcasted_iota(I32, (rows, span), 0), np.int32(group))
    seen = (position <= own) & (position < end)
    if window is not None:
        seen &= own - position < window
    for head in range(kv_heads):
        kv = kv_ref[:, head].reshape(span, wide).astype(F32)
        kv = jnp.where(real, kv, 0).astype(dtype)
        scores = scale * lax.dot_general(
            q_ref[head],
            kv,
            (((1,), (1,)), ((), ())),
            precision=exact,
            preferred_element_type=F32,
        )
        if soft_cap is not None:
            scores = soft_cap * jnp.tanh(scores / soft_cap)
        scores = jnp.where(seen, scores, HIDDEN)
        before = highest_ref[head]
        highest = jnp.maximum(before, scores.max(axis=1, keepdims=True))
        shares = jnp.where(seen, jnp.exp(scores - highest), 0)
        shrink = jnp.exp(before - highest)
        highest_ref[head] = highest
        total_ref[head] = total_ref[head] * shrink + shares.sum(axis=1, keepdims=True)
        sum_ref[head] = sum_ref[head] * shrink + lax.dot_general(
            shares.astype(dtype),
            kv,
            (((1,), (0,)), ((), ())),
            precision=exact,
            preferred_element_type=F32,
        )
