"""Wrong ops of encoders: whole rows, learned positions, means."""

from __future__ import annotations

from typing import Any

import numpy as np
from dovetail.platform import F32, I32

from dovetail_sdk.reference import ops

from .attention import with_changed
from .plant import mutant

whole_attention = ops.OPS["whole_attention"]
mean_rows = ops.OPS["mean_rows"]
embed_positions = ops.OPS["embed_positions"]


def across_rows(q: F32, k: F32, v: F32, row_starts: I32, **attributes: Any) -> Any:
    return whole_attention(q, k, v, row_starts[[0, -1]], **attributes)


def causal(q: F32, k: F32, v: F32, row_starts: I32, **attributes: Any) -> F32:
    """Every token as if it were its row's last."""
    y = np.empty((*q.shape[:2], v.shape[2]), np.float32)
    for start, end in zip(row_starts[:-1].tolist(), row_starts[1:].tolist(), strict=True):
        for token in range(start, end):
            seen = slice(start, token + 1)
            alone = np.array([0, token + 1 - start], np.int32)
            y[token] = whole_attention(q[seen], k[seen], v[seen], alone, **attributes)[-1]
    return y


def heads_by_remainder(q: F32, k: F32, v: F32, row_starts: I32, **attributes: Any) -> Any:
    order = np.arange(q.shape[1]) % k.shape[1]
    return whole_attention(q, k[:, order], v[:, order], row_starts, **attributes)


def padding_seen(q: F32, k: F32, v: F32, row_starts: I32, **attributes: Any) -> F32:
    """Rows are padded to the longest with tokens of other rows that are weighted with 0, which NaN survives."""
    y: F32 = whole_attention(q, k, v, row_starts, **attributes)
    lengths = np.diff(row_starts)
    for row in np.flatnonzero(lengths < lengths.max()).tolist():
        y[row_starts[row] : row_starts[row + 1]] += np.float32(0) * v.sum()
    return y


def mean_of_step(x: F32, row_starts: I32, rows: I32) -> Any:
    return mean_rows(x, row_starts[[0, -1]], rows)


def mean_up_to(x: F32, row_starts: I32, rows: I32) -> F32:
    owners = np.searchsorted(row_starts, rows, side="right") - 1
    means = np.empty((rows.size, x.shape[1]), np.float32)
    for at, (owner, row) in enumerate(zip(owners.tolist(), rows.tolist(), strict=True)):
        means[at] = x[row_starts[owner] : row + 1].mean(axis=0)
    return means


def positions_by_step(positions: I32, **rest: Any) -> Any:
    return embed_positions(np.arange(positions.shape[1], dtype=np.int32)[None], **rest)


MUTANTS = (
    mutant(
        "whole-across-rows",
        "tokens of an encoder's step attend to other rows",
        "ops",
        ops="^whole_attention$",
        kernels={"whole_attention": across_rows},
    ),
    mutant(
        "whole-causal",
        "whole attention looks only back",
        "ops",
        ops="^whole_attention$",
        kernels={"whole_attention": causal},
    ),
    mutant(
        "whole-heads-by-remainder",
        "query head h of whole attention reads key head h % K",
        "ops",
        ops="^whole_attention$",
        kernels={"whole_attention": heads_by_remainder},
    ),
    mutant(
        "reach-less-one",
        "whole attention reaches one token too few to each side",
        "ops",
        ops="^whole_attention$",
        kernels={
            "whole_attention": with_changed(
                "whole_attention", reach=lambda n: None if n is None else max(n - 1, 0)
            )
        },
    ),
    mutant(
        "reach-ignored",
        "whole attention with a reach sees all of its row",
        "ops",
        ops="^whole_attention$",
        kernels={"whole_attention": with_changed("whole_attention", reach=lambda _: None)},
    ),
    mutant(
        "padding-seen",
        "what pads a short row comes from other rows, and its NaN with it",
        "ops",
        ops="^whole_attention$",
        kernels={"whole_attention": padding_seen},
    ),
    mutant(
        "mean-of-step",
        "the mean is taken over all rows of the step",
        "ops",
        ops="^mean_rows$",
        kernels={"mean_rows": mean_of_step},
    ),
    mutant(
        "mean-up-to",
        "the mean ends at the token that asks for it",
        "ops",
        ops="^mean_rows$",
        kernels={"mean_rows": mean_up_to},
    ),
    mutant(
        "positions-by-step",
        "learned positions are counted in the step",
        "ops",
        ops="^embed_positions$",
        kernels={"embed_positions": positions_by_step},
    ),
    mutant(
        "position-offset-ignored",
        "learned positions begin at the table's first row",
        "ops",
        ops="^embed_positions$",
        kernels={"embed_positions": with_changed("embed_positions", offset=lambda _: 0)},
    ),
)
