"""The largest logits of one row without sorting it.

A row of 152k logits is cut into some thousand blocks of 64; the k-th largest block maximum is a lower bound of the
k-th largest logit, and hardly more than k logits reach it.
"""

from __future__ import annotations

import numpy as np
from dovetail.platform import F32
from numpy.typing import NDArray

from .philox import F64, I64

_BLOCK = 64
_WHOLE = 4 * _BLOCK
"""A row this short is not cut into blocks."""
_CHUNK = 16384


class Ranking:
    """One row of logits [V] f32, read only.

    peak  the largest logit; NaN if the row has one
    """

    def __init__(self, row: F32) -> None:
        self.row = row
        self._maxima = _block_maxima(row)
        self.peak = float(self._maxima.max())

    def at_least(self, count: int) -> I64:
        """Ids, ascending, among which are the `count` largest logits: ties to the lowest id, but NaN."""
        if self.row.size <= _WHOLE or count >= self.row.size:
            return np.arange(self.row.size, dtype=np.int64)
        pool = self._maxima if count <= self._maxima.size // 2 else self.row
        bound = np.partition(pool, pool.size - count)[pool.size - count]
        if bound == -np.inf:  # a mask has left few
            possible = self.possible()
            first = np.arange(min(self.row.size, count + possible.size))
            return possible if possible.size >= count else np.union1d(possible, first)
        return np.flatnonzero(self.row >= bound)

    def possible(self) -> I64:
        """Ids, ascending, that are not -inf."""
        return np.flatnonzero(self.row > -np.inf)

    @property
    def sparse(self) -> bool:
        """Whether few ids are possible, as a mask leaves them: at most 64 for each of the blocks that have any."""
        return 2 * int(np.count_nonzero(self._maxima > -np.inf)) < self._maxima.size

    def largest(self, count: int) -> tuple[I64, F32]:
        """Ids and logits of the `count` largest, largest first, ties to the lowest id."""
        ids = self.at_least(count)
        values = self.row[ids]
        order = np.argsort(-values, kind="stable")[:count]
        return ids[order], values[order]

    def mass(self, temperature: float = 1.0) -> float:
        """Sum of exp((logit - peak) / temperature), at least 1; exponentials in f32, in pieces that stay in cache."""
        total = 0.0
        peak, factor = np.float32(self.peak), np.float32(1.0 / temperature)
        buffer: F32 = np.empty(min(_CHUNK, self.row.size), np.float32)
        for start in range(0, self.row.size, _CHUNK):
            piece = self.row[start : start + _CHUNK]
            scaled = np.subtract(piece, peak, out=buffer[: piece.size])
            if temperature != 1.0:
                scaled *= factor
            total += float(np.exp(scaled, out=scaled).sum())
        return total

    def relative(self, values: F32, temperature: float) -> F64:
        """(logit - peak) / temperature in f64; 0 for the largest."""
        return (values.astype(np.float64) - self.peak) / temperature


def _block_maxima(row: F32) -> NDArray[np.float32]:
    """Maxima of blocks of 64 (strided, so that the maximum runs along contiguous memory) and the odd rest as it is."""
    if row.size <= _WHOLE:
        return row
    whole = row.size // _BLOCK * _BLOCK
    blocks = np.maximum.reduce(row[:whole].reshape(_BLOCK, -1), axis=0)
    return np.concatenate([blocks, row[whole:]])
