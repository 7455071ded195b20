"""Ops on the paged cache: [L, B, K, S, W] per group, a key and its value side by side in W = D + Dv, rounded up to
whole tiles. What XLA makes of them is here; the kernels in Pallas that replace it on chips are in kernels/."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from .kernels.select import attention_kernel, write_kernel
from .trace import Array, Layer, Step

F32 = jnp.float32
E4M3_LARGEST = 448.0
HIDDEN = np.float32(-1e30)
"""The score of what is not seen: finite, so that a row of nothing else is no NaN."""


def kv_write(step: Step, k: Array, v: Array, *, layer: Layer, dtype: Any) -> Array:
    """k [T, K, D], v [T, K, Dv] into the blocks of their tokens -> a token of order, [] f32."""
    cache = step.caches[layer.group]
    both = lax.concatenate([k, v], 2)
    if cache.dtype == jnp.float8_e4m3fn:  # what is larger would become NaN
        both = jnp.clip(both, -E4M3_LARGEST, E4M3_LARGEST)
    both = both.astype(cache.dtype)
    both = jnp.pad(both, ((0, 0), (0, 0), (0, cache.shape[-1] - both.shape[-1])))
    kernel = write_kernel(step.settings)
    if kernel is not None:
        written = kernel(step, both, cache, layer)
    else:
        block, offset = step.feed[f"block.{layer.group}"], step.feed["position"] % cache.shape[3]
        written = cache.at[layer.place, block, :, offset].set(both, mode="promise_in_bounds")
    step.caches[layer.group] = written
    return jnp.zeros((), F32)


def attention(
    step: Step,
    q: Array,
    written: Array,
    *,
    layer: Layer,
    scale: float,
    kv_heads: int,
    value_width: int,
    window: int | None,
    soft_cap: float | None,
    dtype: Any,
) -> Array:
    """q [T, H, D] -> [T, H, Dv]."""
    tiles = to_tiles(step, q, kv_heads)
    kernel = attention_kernel(step.settings)
    run = kernel if kernel is not None else attend
    y = run(
        step,
        tiles,
        layer,
        scale=scale,
        value_width=value_width,
        window=window,
        soft_cap=soft_cap,
    )
    return from_tiles(step, y.astype(dtype), q.shape[1])


def attention_write(
    step: Step,
    q: Array,
    k: Array,
    v: Array,
    *,
    layer: Layer,
    scale: float,
    window: int | None,
    soft_cap: float | None,
    dtype: Any,
) -> Array:
    """kv_write, then attention."""
    return attention(
        step,
        q,
        kv_write(step, k, v, layer=layer, dtype=dtype),
        layer=layer,
        scale=scale,
        kv_heads=k.shape[1],
        value_width=v.shape[2],
        window=window,
        soft_cap=soft_cap,
        dtype=dtype,
    )


def to_tiles(step: Step, q: Array, kv_heads: int) -> Array:
    """q [T, H, D] -> [X, K, Q * G, D]: tiles of Q tokens of a row, with the G query heads of a key head side by side."""
    tokens, heads, width = q.shape
    size, group = step.bucket.query_tokens, heads // kv_heads
    if size == 1:
        return q.reshape(tokens, kv_heads, group, width)
    first = step.feed["tile_token"]
    index = jnp.minimum(first[:, None] + np.arange(size, dtype=np.int32), tokens - 1)
    tiles = jnp.take(q, index, axis=0, mode="clip").reshape(
        len(first), size, kv_heads, group, width
    )
    return tiles.transpose(0, 2, 1, 3, 4).reshape(len(first), kv_heads, size * group, width)


def from_tiles(step: Step, y: Array, heads: int) -> Array:
    """[X, K, Q * G, Dv] -> [T, H, Dv]."""
    tiles, kv_heads, rows, width = y.shape
    size = step.bucket.query_tokens
    if size == 1:
        return y.reshape(tiles, heads, width)
    flat = y.reshape(tiles, kv_heads, size, rows // size, width).transpose(0, 2, 1, 3, 4)
    flat = flat.reshape(tiles * size, heads, width)
    return jnp.take(flat, step.feed["place"], axis=0, mode="clip")


def attend(
    step: Step,
    q: Array,
    layer: Layer,
    *,
    scale: float,
    value_width: int,
    window: int | None,
    soft_cap: float | None,
) -> Array:
    """Attention of tiles over the cache, some blocks at a time, as many as the longest row needs.

    q        [X, K, Q * G, D]
    returns  [X, K, Q * G, Dv]  f32

    Source: Milakov and Gimelshein 2018 (online softmax); Dao 2023, algorithm 1 (tiling).
    """
    cache, feed = step.caches[layer.group], step.feed
    tiles, kv_heads, rows, width = q.shape
    block_size, table = cache.shape[3], feed[f"table.{layer.group}"]
    blocks = max(1, min(table.shape[1], step.settings.chip.attention.kv_tokens // block_size))
    table = jnp.pad(table, ((0, 0), (0, -table.shape[1] % blocks)))
    mine = jnp.take(table, feed["tile_row"], axis=0, mode="clip")
    first, count = feed["tile_position"], feed["tile_count"]
    group = rows // step.bucket.query_tokens
    at = first[:, None] + np.arange(rows, dtype=np.int32) // group
    span = blocks * block_size
    low = jnp.zeros_like(first) if window is None else jnp.maximum(first - window + 1, 0)
    used = count > 0
    begin = jnp.min(jnp.where(used, low, first.max())) // span
    end = -(-jnp.max(jnp.where(used, first + count, 0)) // span)
    precision = lax.Precision.HIGHEST if q.dtype == F32 else lax.Precision.DEFAULT

    def chunk(index: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        highest, total, y = state
        ids = lax.dynamic_slice_in_dim(mine, index * blocks, blocks, 1)
        kv = cache[layer.place, ids]  # [X, blocks, K, S, W]
        kv = kv.transpose(0, 2, 1, 3, 4).reshape(tiles, kv_heads, span, cache.shape[-1])
        position = index * span + np.arange(span, dtype=np.int32)
        real = (position >= low[:, None]) & (position < (first + count)[:, None])
        kv = jnp.where(real[:, None, :, None], kv.astype(q.dtype), 0)
        keys, values = kv[..., :width], kv[..., width : width + value_width]
        scores = _dot(q, keys, 3, 3, precision) * np.float32(scale)
        if soft_cap is not None:
            scores = np.float32(soft_cap) * jnp.tanh(scores / np.float32(soft_cap))
        distance = at[:, :, None] - position
        seen = (distance >= 0) & real[:, None, :]
        if window is not None:
            seen &= distance < window
        scores = jnp.where(seen[:, None], scores, HIDDEN)
        new = jnp.maximum(highest, scores.max(axis=3))
        shares = jnp.where(seen[:, None], jnp.exp(scores - new[..., None]), 0)
        shrink = jnp.exp(highest - new)
        total = total * shrink + shares.sum(axis=3)
        y = y * shrink[..., None] + _dot(shares.astype(q.dtype), values, 3, 2, precision)
        return new, total, y

    lead = (tiles, kv_heads, rows)
    state = (jnp.full(lead, HIDDEN), jnp.zeros(lead, F32), jnp.zeros((*lead, value_width), F32))
    _, total, y = lax.fori_loop(begin, end, chunk, state)
    return y / jnp.where(total == 0, 1, total)[..., None]


def _dot(a: Array, b: Array, a_axis: int, b_axis: int, precision: lax.Precision) -> Array:
    return lax.dot_general(
        a,
        b,
        (((a_axis,), (b_axis,)), ((0, 1), (0, 1))),
        precision=precision,
        preferred_element_type=F32,
    )
