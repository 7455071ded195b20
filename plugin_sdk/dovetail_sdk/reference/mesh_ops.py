"""The ops of divided graphs in NumPy, in the form of ops.py, for a mesh of one: the collectives are the identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from dovetail.platform import F32, I32


def all_reduce(x: F32) -> F32:
    """The sum over the members, any shape."""
    return x


def all_gather(x: F32, *, parts: int = 1) -> F32:
    """The members' parts of the last axis: [*, W] -> [*, parts * W]."""
    if parts != 1:
        raise ValueError(f"all_gather of {parts} parts: NumPy has no mesh")
    return x


def embed_part(ids: I32, *, table: F32, first: int) -> F32:
    """Rows of the part of a table that begins at row `first`, and 0 for ids that it does not hold.

    ids      [T]     i32
    table    [V, E]
    returns  [T, E]

    Source: Shoeybi et al. 2019, section 3 (the embedding divided by vocabulary).
    """
    at = ids - first
    held = (at >= 0) & (at < len(table))
    return np.asarray(np.where(held[:, None], table[np.where(held, at, 0)], np.float32(0)))


FUNCTIONS: tuple[Callable[..., Any], ...] = (all_reduce, all_gather, embed_part)
"""In the order of dovetail.graph.mesh_ops."""
