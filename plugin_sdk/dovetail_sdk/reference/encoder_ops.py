"""The ops of encoders in NumPy, in the form of ops.py: no cache, whole rows, packed end to end.

row_starts is [R + 1] i32: row r owns tokens row_starts[r]:row_starts[r + 1] of the step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from dovetail.platform import F32, I32

from .softmax import attend


def embed_positions(positions: I32, *, table: F32, offset: int = 0) -> F32:
    """Rows of a table of learned positions.

    positions  [P, T]  i32; plane 0 is read
    table      [C, E]
    returns    [T, E]

    Source: Devlin et al. 2019, section 3 (figure 2); the offset is that of RoBERTa.
    """
    return np.asarray(table[positions[0] + offset])


def whole_attention(
    q: F32, k: F32, v: F32, row_starts: I32, *, scale: float, reach: int | None = None
) -> F32:
    """Attention of every token of a row over all of the row, before and after it.

    q        [T, H, D]   H / K query heads in a row share a key head
    k, v     [T, K, D], [T, K, Dv]
    reach    tokens to either side, or None for all: query i sees key j iff |i - j| <= reach
    returns  [T, H, Dv]

    Source: Vaswani et al. 2017, section 3.2; Beltagy et al. 2020, section 3.1 (reach).
    """
    y = np.empty((*q.shape[:2], v.shape[2]), np.float32)
    for start, end in zip(row_starts[:-1].tolist(), row_starts[1:].tolist(), strict=True):
        places = np.arange(end - start)
        distance = np.abs(places[:, None] - places)
        hidden = distance > (end if reach is None else reach)
        mine = slice(start, end)
        y[mine] = attend(q[mine], k[mine], v[mine], hidden, scale, None)
    return y


def mean_rows(x: F32, row_starts: I32, rows: I32) -> F32:
    """The mean over a whole row, for the rows that some tokens are in.

    x        [T, E]
    rows     [N]  i32, tokens; each asks for the row that it is in
    returns  [N, E]

    Source: Reimers and Gurevych 2019, section 3.
    """
    owners = np.searchsorted(row_starts, rows, side="right") - 1
    means = np.empty((rows.size, x.shape[1]), np.float32)
    for at, owner in enumerate(owners.tolist()):
        means[at] = x[row_starts[owner] : row_starts[owner + 1]].mean(axis=0, dtype=np.float32)
    return means


def tanh(x: F32) -> F32:
    """The hyperbolic tangent, any shape."""
    return np.asarray(np.tanh(x))


FUNCTIONS: tuple[Callable[..., Any], ...] = (embed_positions, whole_attention, mean_rows, tanh)
"""In the order of dovetail.graph.encoder_ops."""
