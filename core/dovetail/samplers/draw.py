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


def noise(ids: I64, position: int, seed: int) -> F64:
    """Gumbel noise of vocabulary ids [c]."""
    words = philox((ids >> 2).astype(np.uint64), position, 0, seed)
    chosen = np.choose(ids & 3, words)
    return np.asarray(-np.log(-np.log((chosen.astype(np.float64) + 0.5) * 2.0**-32)))


def draw(ids: I64, logits: F64, position: int, seed: int) -> int:
    """Index of the candidate with the largest logit + noise, ties to the lowest id.

    Noise is made for the likeliest first; most of the others cannot reach their best with any noise there is.
    """
    able = np.arange(len(ids))
    if len(ids) > _FIRST:
        likeliest = np.argpartition(-logits, _FIRST)[:_FIRST]
        best = (logits[likeliest] + noise(ids[likeliest], position, seed)).max()
        able = np.flatnonzero(logits >= best - _MOST_NOISE)
    scores = logits[able] + noise(ids[able], position, seed)
    winners = able[scores == scores.max()]
    return int(winners[ids[winners].argmin()])
