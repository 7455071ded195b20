"""How a step's tokens and outputs are shared out among rows that could use more."""

from __future__ import annotations

import numpy as np

from .sequence import Sequence
from .slots import I32


def share(wanted: I32, budget: int) -> I32:
    """Cut what each row wants, [R], to a sum of at most budget.

    Everyone gets one token before anyone gets a second, so a long prompt stops no one's decoding; then first come,
    first served.
    """
    if int(wanted.sum()) <= budget:
        return wanted
    first = np.minimum(wanted, 1)
    first[np.cumsum(first) > budget] = 0
    more = np.where(first > 0, wanted - 1, 0)
    left = budget - int(first.sum()) - (np.cumsum(more) - more)
    shared: I32 = (first + np.clip(left, 0, more)).astype(np.int32)
    return shared


def scores_in(sequence: Sequence, start: int, count: int) -> range:
    """The prompt positions among start .. start + count whose log-probabilities are wanted."""
    first = max(start, sequence.scored)
    return range(first, max(first, min(start + count, sequence.num_prompt - 1)))


def cut_to_scores(sequence: Sequence, start: int, count: int, left: int) -> int:
    """How many of count positions a row may compute when only `left` prompt positions may still be scored."""
    wanted = scores_in(sequence, start, count)
    return count if len(wanted) <= left else wanted.start + left - start
