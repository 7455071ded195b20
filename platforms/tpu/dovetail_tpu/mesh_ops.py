"""Ops of a divided graph in JAX: what a member of the mesh computes; with one member, the identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from .trace import MESH, Array, Loaded, Step


def all_reduce(step: Step, x: Array, *, dtype: Any) -> Array:
    """The sum over the members, in the graph's dtype."""
    return lax.psum(x, MESH) if step.settings.members > 1 else x


def all_gather(step: Step, x: Array, *, parts: int, dtype: Any) -> Array:
    """x [*, W] -> [*, parts * W], in the order of the members."""
    if step.settings.members == 1:
        return x
    return lax.all_gather(x, MESH, axis=x.ndim - 1, tiled=True)


def embed_part(step: Step, ids: Array, *, table: Loaded, first: int, dtype: Any) -> Array:
    """Rows of a member's part of a table; 0 where another member has the row.

    In a mesh every member runs the same program, so that `first` is that of the first one: 0.
    """
    rows = table.data.shape[0]
    own = ids - first
    if step.settings.members > 1:
        own = own - lax.axis_index(MESH) * rows
    found = jnp.take(table.data, jnp.clip(own, 0, rows - 1), axis=0, mode="clip")
    return jnp.where(((own >= 0) & (own < rows))[:, None], found, 0).astype(dtype)


FUNCTIONS: tuple[Callable[..., Any], ...] = (all_reduce, all_gather, embed_part)
"""In the order of dovetail.graph.mesh_ops."""
