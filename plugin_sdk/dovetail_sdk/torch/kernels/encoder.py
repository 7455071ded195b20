"""The ops of encoders: whole rows, packed end to end, no cache.

row_starts is [R + 1] i32: row r owns tokens row_starts[r]:row_starts[r + 1] of the step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import QUERIES_AT_ONCE, attend


def whole_attention(
    q: Tensor, k: Tensor, v: Tensor, row_starts: Tensor, *, scale: float, reach: int | None = None
) -> Tensor:
    """Attention of every token of a row over all of the row, before and after it.

    q        [T, H, D]   H / K query heads in a row share a key head
    k, v     [T, K, D], [T, K, Dv]
    reach    tokens to either side, or None for all: query i sees key j iff |i - j| <= reach
    returns  [T, H, Dv]  f32

    Row by row, so it asks where rows begin: from the host's copy that the program leaves on the tensor, else by waiting.
    """
    starts = getattr(row_starts, "host", None)
    ends = row_starts.tolist() if starts is None else starts.tolist()
    y = torch.empty(*q.shape[:2], v.shape[2], dtype=torch.float32, device=q.device)
    for start, end in zip(ends[:-1], ends[1:], strict=True):
        for first in range(start, end, QUERIES_AT_ONCE):
            last = min(first + QUERIES_AT_ONCE, end)
            low = start if reach is None else max(start, first - reach)
            high = end if reach is None else min(end, last + reach)
            y[first:last] = _some(
                q[first:last], k[low:high], v[low:high], first - low, scale, reach
            )
    return y


def _some(q: Tensor, k: Tensor, v: Tensor, ahead: int, scale: float, reach: int | None) -> Tensor:
    """Queries q [n, H, D] of one row over keys of it, of which the first is `ahead` before the first query."""
    queries = torch.arange(len(q), device=q.device)[:, None] + ahead
    distance = (queries - torch.arange(len(k), device=q.device)).abs()
    seen = distance <= (len(k) + len(q) if reach is None else reach)
    one, two, three = (part.float().transpose(0, 1)[None] for part in (q, k, v))
    return attend(one, two, three, seen[None, None], scale, None)[0].transpose(0, 1)


def mean_rows(x: Tensor, row_starts: Tensor, rows: Tensor) -> Tensor:
    """The mean over a whole row, for the rows that some tokens are in.

    x        [T, E]
    rows     [N]  i32, tokens; each asks for the row that it is in
    returns  [N, E]  f32
    """
    count = len(row_starts) - 1
    tokens = torch.arange(len(x), device=x.device, dtype=torch.int32)
    owners = torch.searchsorted(row_starts, tokens, right=True) - 1
    sums = torch.zeros(count, x.shape[1], device=x.device).index_add_(0, owners, x.float())
    means = sums / row_starts.diff()[:, None]
    return means.index_select(0, owners.index_select(0, rows))
