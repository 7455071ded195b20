"""Ops of encoders in JAX, in the form of ops.py. XLA alone: whole sequences are few and long, and it fuses them well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from .trace import Array, Loaded, Step

F32 = jnp.float32
HIDDEN = np.float32(-1e30)
TILE = 128
"""Tokens whose attention is computed together, and that are attended to at a time."""


def embed_positions(
    step: Step, positions: Array, *, table: Loaded, offset: int, dtype: Any
) -> Array:
    """positions [T]."""
    return jnp.take(table.data, positions + offset, axis=0, mode="clip").astype(dtype)


def tanh(step: Step, x: Array, *, dtype: Any) -> Array:
    return lax.tanh(x.astype(F32)).astype(dtype)


def mean_rows(step: Step, x: Array, row_starts: Array, rows: Array, *, dtype: Any) -> Array:
    """x [T, E], row_starts [R + 1], rows [N] -> [N, E]."""
    owner = step.feed["row_of_token"]
    sums = jnp.zeros((step.bucket.rows + 1, x.shape[1]), F32).at[owner].add(x.astype(F32))
    counts = jnp.maximum(jnp.diff(row_starts), 1)
    mine = jnp.minimum(owner[rows], step.bucket.rows - 1)
    return (sums[mine] / counts[mine][:, None].astype(F32)).astype(dtype)


def whole_attention(
    step: Step,
    q: Array,
    k: Array,
    v: Array,
    row_starts: Array,
    *,
    scale: float,
    reach: int | None,
    dtype: Any,
) -> Array:
    """Tiles of tokens, each over the part of the step in which its rows and its reach are.

    q [T, H, D], k [T, K, D], v [T, K, Dv] -> [T, H, Dv]
    """
    tokens, heads, width = q.shape
    kv_heads, size = k.shape[1], min(TILE, tokens)
    owner = step.feed["row_of_token"]
    spoilt = jnp.isnan(v).any(
        axis=2
    )  # a value that is NaN counts as a score that is, so that masks hide it
    padded = -(-tokens // size) * size
    q, k, v, owner, spoilt = (
        jnp.pad(a, ((0, padded - tokens), *((0, 0),) * (a.ndim - 1)), constant_values=fill)
        for a, fill in (
            (q, 0),
            (k, 0),
            (jnp.where(jnp.isnan(v), 0, v), 0),
            (owner, step.bucket.rows),
            (spoilt, False),
        )
    )
    grouped = q.reshape(padded, kv_heads, heads // kv_heads, width)
    starts = jnp.pad(row_starts, (0, 1), mode="edge")
    precision = lax.Precision.HIGHEST if q.dtype == F32 else lax.Precision.DEFAULT

    def tile(index: Array) -> Array:
        first = index * size
        mine = lax.dynamic_slice_in_dim(owner, first, size)
        queries = lax.dynamic_slice_in_dim(grouped, first, size)
        low, high = starts[mine[0]], starts[jnp.minimum(mine[-1] + 1, step.bucket.rows)]
        if reach is not None:
            low, high = jnp.maximum(low, first - reach), jnp.minimum(high, first + size + reach)
        shape = (kv_heads, heads // kv_heads, size)

        def chunk(at: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            highest, total, y = state
            theirs, keys, values, broken = (
                lax.dynamic_slice_in_dim(a, at * size, size) for a in (owner, k, v, spoilt)
            )
            scores = jnp.einsum(
                "tkgd,skd->kgts",
                queries,
                keys,
                precision=precision,
                preferred_element_type=F32,
            ) * np.float32(scale)
            scores = jnp.where(broken.T[:, None, None, :], jnp.nan, scores)
            seen = mine[:, None] == theirs[None, :]
            if reach is not None:
                place = np.arange(size, dtype=np.int32)
                distance = first + place[:, None] - at * size - place[None, :]
                seen &= jnp.abs(distance) <= reach
            scores = jnp.where(seen, scores, HIDDEN)
            new = jnp.maximum(highest, scores.max(axis=3))
            shares = jnp.where(seen, jnp.exp(scores - new[..., None]), 0)
            shrink = jnp.exp(highest - new)
            mixed = jnp.einsum(
                "kgts,skd->kgtd",
                shares.astype(q.dtype),
                values,
                precision=precision,
                preferred_element_type=F32,
            )
            return new, total * shrink + shares.sum(axis=3), y * shrink[..., None] + mixed

        state = (
            jnp.full(shape, HIDDEN),
            jnp.zeros(shape, F32),
            jnp.zeros((*shape, v.shape[2]), F32),
        )
        begin, end = low // size, jnp.maximum(-(-high // size), low // size)
        _, total, y = lax.fori_loop(begin, end, chunk, state)
        y = y / jnp.where(total == 0, 1, total)[..., None]
        return y.transpose(2, 0, 1, 3).reshape(size, heads, v.shape[2])

    y = lax.map(tile, jnp.arange(padded // size, dtype=jnp.int32))
    return y.reshape(padded, heads, v.shape[2])[:tokens].astype(dtype)


FUNCTIONS: tuple[Callable[..., Any], ...] = (embed_positions, whole_attention, mean_rows, tanh)
"""In the order of dovetail.graph.encoder_ops."""
