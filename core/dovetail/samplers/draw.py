"""The draw of platform.SamplingColumns for a list of candidates, and a second stream of numbers for decisions.

Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3 (Philox-4x32-10).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_MOST_NOISE = 22.9
_FIRST = 64
DECISIONS = 1
"""Third word of the counter of `uniform`; that of the noise of tokens is 0."""


def philox(groups: U64, position: int, stream: int, seed: int) -> list[U64]:
    """The four words [g] each of counters (group, position, stream, 0) under a 64-bit key."""
    c0 = groups & _WORD
    c1 = np.full_like(c0, position & 0xFFFFFFFF)
    c2, c3 = np.full_like(c0, stream), np.zeros_like(c0)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1 = (p1 >> _HALF) ^ c1 ^ np.uint64(k0), p1 & _WORD
        c2, c3 = (p0 >> _HALF) ^ c3 ^ np.uint64(k1), p0 & _WORD
        k0, k1 = k0 + _WEYL[0] & 0xFFFFFFFF, k1 + _WEYL[1] & 0xFFFFFFFF
    return [c0, c1, c2, c3]


def uniform(position: int, seed: int) -> float:
    """A number in (0, 1) of a request and a position, independent of the noise of its tokens."""
    word = philox(np.zeros(1, np.uint64), position, DECISIONS, seed)[0]
    return (float(word[0]) + 0.5) * 2.0**-32


def words_of(ids: I64, position: int, seed: int) -> U64:
    """The random words of ascending vocabulary ids [c], four to a counter."""
    groups = ids >> 2
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    words = np.stack(philox(groups[first].astype(np.uint64), position, 0, seed))
    at = np.repeat(np.arange(len(first)), np.diff(first, append=len(ids)))
    chosen: U64 = words[ids & 3, at]
    return chosen


def noise(ids: I64, position: int, seed: int) -> F64:
    """Gumbel noise of ascending vocabulary ids [c]."""
    chosen = words_of(ids, position, seed).astype(np.float64)
    return np.asarray(-np.log(-np.log((chosen + 0.5) * 2.0**-32)))


def draw(ids: I64, logits: F64, position: int, seed: int) -> int:
    """Index of the candidate with the largest logit + noise, ties to the lowest id. ids ascend.

    Of many, noise is made for the likeliest first. With u = (word + 0.5) / 2**32, another reaches their best b only if
    -log u <= exp(logit - b), hence only if 1 - u is at most that; what passes this bound is looked at exactly.
    """
    able = np.arange(len(ids))
    if len(ids) > _FIRST:
        likeliest = np.sort(np.argpartition(-logits, _FIRST)[:_FIRST])
        best = (logits[likeliest] + noise(ids[likeliest], position, seed)).max()
        able = np.flatnonzero(logits >= best - _MOST_NOISE)
        missing = (_WORD - words_of(ids[able], position, seed)).astype(np.float64)
        able = able[missing <= np.exp(logits[able] - best) * 2.0**32 + 1]
    scores = logits[able] + noise(ids[able], position, seed)
    winners = able[scores == scores.max()]
    return int(winners[ids[winners].argmin()])
