"""Ops of encoders in JAX, in the form of ops.py. XLA alone: whole sequences are few and long, and it fuses them well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
    whole = _Whole.of(step, k, v, size)
    groups = _padded(q, whole.tokens, 0).reshape(whole.tokens, kv_heads, heads // kv_heads, width)
    starts = jnp.pad(row_starts, (0, 1), mode="edge")

    def tile(index: Array) -> Array:
        first = index * size
        mine = lax.dynamic_slice_in_dim(whole.owner, first, size)
        queries = lax.dynamic_slice_in_dim(groups, first, size)
        low, high = starts[mine[0]], starts[jnp.minimum(mine[-1] + 1, step.bucket.rows)]
        if reach is not None:
            low, high = jnp.maximum(low, first - reach), jnp.minimum(high, first + size + reach)
        add = partial(whole.add, queries, mine, first, scale=scale, reach=reach)
        lead = (kv_heads, heads // kv_heads, size)
        begin = low // size
        state = (jnp.full(lead, HIDDEN), jnp.zeros(lead, F32), jnp.zeros((*lead, v.shape[2]), F32))
        _, total, y = lax.fori_loop(begin, jnp.maximum(-(-high // size), begin), add, state)
        y = y / jnp.where(total == 0, 1, total)[..., None]
        return y.transpose(2, 0, 1, 3).reshape(size, heads, v.shape[2])

    y = lax.map(tile, jnp.arange(whole.tokens // size, dtype=jnp.int32))
    return y.reshape(whole.tokens, heads, v.shape[2])[:tokens].astype(dtype)


@dataclass(frozen=True, slots=True)
class _Whole:
    """What is attended to, padded to whole tiles of `size` tokens.

    keys [T, K, D], values [T, K, Dv]
    owner    [T]     the row of a token
    spoilt   [T, K]  whether a value is NaN: it counts as a score that is, so that masks hide it
    """

    size: int
    keys: Array
    values: Array
    owner: Array
    spoilt: Array

    @classmethod
    def of(cls, step: Step, k: Array, v: Array, size: int) -> _Whole:
        tokens = -(-k.shape[0] // size) * size
        nan = jnp.isnan(v)
        return cls(
            size,
            _padded(k, tokens, 0),
            _padded(jnp.where(nan, 0, v), tokens, 0),
            _padded(step.feed["row_of_token"], tokens, step.bucket.rows),
            _padded(nan.any(axis=2), tokens, False),
        )

    @property
    def tokens(self) -> int:
        return len(self.owner)

    def add(
        self,
        queries: Array,
        mine: Array,
        first: Array,
        at: Array,
        state: tuple[Array, Array, Array],
        *,
        scale: float,
        reach: int | None,
    ) -> tuple[Array, Array, Array]:
        """Attend to tile `at` too: the highest score so far [K, G, Q], the sum of shares, the sum of values."""
        highest, total, y = state
        theirs, keys, values, spoilt = (
            lax.dynamic_slice_in_dim(a, at * self.size, self.size)
            for a in (self.owner, self.keys, self.values, self.spoilt)
        )
        scores = _sum("tkgd,skd->kgts", queries, keys) * np.float32(scale)
        scores = jnp.where(spoilt.T[:, None, None, :], jnp.nan, scores)
        seen = mine[:, None] == theirs[None, :]
        if reach is not None:
            place = np.arange(self.size, dtype=np.int32)
            distance = first + place[:, None] - at * self.size - place[None, :]
            seen &= jnp.abs(distance) <= reach
        scores = jnp.where(seen, scores, HIDDEN)
        new = jnp.maximum(highest, scores.max(axis=3))
        shares = jnp.where(seen, jnp.exp(scores - new[..., None]), 0)
        shrink = jnp.exp(highest - new)
        mixed = _sum("kgts,skd->kgtd", shares.astype(queries.dtype), values)
        return new, total * shrink + shares.sum(axis=3), y * shrink[..., None] + mixed


def _sum(what: str, a: Array, b: Array) -> Array:
    """A product summed in f32."""
    precision = lax.Precision.HIGHEST if a.dtype == F32 else lax.Precision.DEFAULT
    return jnp.einsum(what, a, b, precision=precision, preferred_element_type=F32)


def _padded(array: Array, length: int, fill: Any) -> Array:
    more = ((0, length - len(array)), *((0, 0),) * (array.ndim - 1))
    return jnp.pad(array, more, constant_values=fill)


FUNCTIONS: tuple[Callable[..., Any], ...] = (embed_positions, whole_attention, mean_rows, tanh)
"""In the order of dovetail.graph.encoder_ops."""
