"""Whole blocks of a cache group [L, B, K, S, W]: copied, read and written; and rows of an output."""

from __future__ import annotations

from functools import partial

import jax

from .trace import Array


def _before(cache: Array) -> tuple[slice, ...]:
    """All of the axes before that of blocks: layers, and in a mesh members before them."""
    return (slice(None),) * (cache.ndim - 4)


@partial(jax.jit, donate_argnums=0)
def copy(cache: Array, pairs: Array) -> Array:
    """pairs [2, C] i32, sources and targets; (0, 0) is padding."""
    lead = _before(cache)
    found = cache[(*lead, pairs[0])]
    return cache.at[(*lead, pairs[1])].set(found, mode="promise_in_bounds")


@jax.jit
def gather(cache: Array, ids: Array) -> Array:
    """Blocks ids [n] -> [n, L, K, S, W]."""
    return cache[:, ids].swapaxes(0, 1)


@partial(jax.jit, donate_argnums=0)
def scatter(cache: Array, ids: Array, numbers: Array) -> Array:
    """The other way; ids of 0 are padding."""
    return cache.at[:, ids].set(numbers.swapaxes(0, 1), mode="promise_in_bounds")


@jax.jit
def take(output: Array, rows: Array) -> Array:
    """Rows [n] of an output [N, W]."""
    return output[rows]
