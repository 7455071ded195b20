"""What was sampled for a step, put together again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dovetail.errors import PlatformBroken
from dovetail.platform import Ticket, Tokens

Index = NDArray[np.intp]


def collect(n: int, tickets: Sequence[tuple[Index, Ticket[Tokens]]]) -> Tokens:
    """What was sampled for all n rows of a step, in their order, from (which rows, what was sampled for them).

    A late row whose sequence ended before its token could be sampled has none; its place is never read.
    """
    if len(tickets) == 1 and len(tickets[0][0]) == n:
        return _checked(tickets[0][1].result(), n)
    parts = [(which, _checked(ticket.result(), len(which))) for which, ticket in tickets]
    width = max((part.top_ids.shape[1] for _, part in parts), default=0)
    whole = Tokens(
        ids=np.zeros(n, np.int32),
        logprobs=np.full(n, np.nan, np.float32),
        top_ids=np.full((n, width), -1, np.int32),
        top_logprobs=np.full((n, width), np.nan, np.float32),
        not_finite=np.zeros(n, np.bool_),
    )
    for which, part in parts:
        k = part.top_ids.shape[1]
        whole.ids[which] = part.ids
        whole.logprobs[which] = part.logprobs
        whole.top_ids[which, :k] = part.top_ids
        whole.top_logprobs[which, :k] = part.top_logprobs
        whole.not_finite[which] = part.not_finite
    return whole


def _checked(tokens: Tokens, rows: int) -> Tokens:
    """What a platform sampled, if it is for all rows that were asked for: one too few would shift the others."""
    lengths = (
        len(tokens.ids),
        len(tokens.logprobs),
        len(tokens.top_ids),
        len(tokens.top_logprobs),
        len(tokens.not_finite),
    )
    if lengths != (rows,) * len(lengths):
        raise PlatformBroken(
            f"{rows} rows were sampled and the platform's plugin returned {lengths[0]} ids, {lengths[1]} logprobs, "
            f"{lengths[2]} top_ids, {lengths[3]} top_logprobs and {lengths[4]} not_finite; this is a fault of the "
            "plugin: dovetail conformance shows it"
        )
    return tokens
