"""What a step costs in seconds, learnt from the steps that ran. Knows no clock: it is told.

The model is a weighted sum of four counts of a step, each weight at least 0. It is fitted to the last few steps of every
size (powers of two of the token count), so that an hour of plain decoding does not wear away what the last prompts
taught. Errors are relative and count by their amount, not by their square (iteratively reweighted least squares), so
that single steps that a busy neighbour held up have little say; when all of them are slower, so is the model.
The same observations in the same order give the same answers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
KEPT = 8
"""Steps remembered per size."""
REFIT_EVERY = 8
"""Steps observed before a fit is repeated; a size seen for the first time is taken in at once."""
ROUNDS, SWEEPS = 4, 24
SMALL_ERROR = 0.03
RIDGE = 1e-4
UNITS: F64 = np.array([1.0, 64.0, 8.0, 262_144.0])
"""Of step, tokens, rows and pairs: as long as too little is known, the cost is put down to the largest count in these
units, which is the tokens for a prompt and the step as such for a decoding row."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a step does.

    tokens  new positions of all rows
    rows
    pairs   (new position, position it attends to), which is how attention grows
    """

    tokens: int
    rows: int
    pairs: float

    @property
    def counts(self) -> F64:
        """[4] the step itself, then the fields."""
        return np.array([1.0, self.tokens, self.rows, self.pairs]) / UNITS


@dataclass(slots=True)
class CostModel:
    """Seconds of a step as a function of its Work."""

    _seen: dict[int, deque[tuple[F64, float]]] = field(default_factory=dict)
    _weights: F64 = field(default_factory=lambda: np.zeros(4))
    _unfitted: int = 0
    _stale: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing has been observed."""
        return not self._seen

    def observe(self, work: Work, seconds: float) -> None:
        """A step ran and took so long."""
        size = work.tokens.bit_length()
        kept = self._seen.get(size)
        if kept is None:
            kept = self._seen[size] = deque(maxlen=KEPT)
        self._stale |= len(kept) < 2
        self._unfitted += 1
        kept.append((work.counts, max(seconds, 1e-6)))

    def seconds(self, work: Work) -> float:
        """What a step would take; 0 as long as nothing has been observed."""
        return float(self.weights() @ work.counts)

    def weights(self) -> F64:
        """[4] seconds per unit of each count, at least 0."""
        if self._stale or self._unfitted >= REFIT_EVERY:
            self._fit()
            self._stale, self._unfitted = False, 0
        return self._weights

    def _fit(self) -> None:
        steps = [step for size in sorted(self._seen) for step in self._seen[size]]
        relative = np.array([counts / seconds for counts, seconds in steps])  # [n, 4], wants sum 1
        weights = np.zeros(4)
        shares = np.ones(len(steps))
        for _ in range(ROUNDS):
            weighted = relative * shares[:, None]
            weights = _nonnegative(weighted.T @ relative, weighted.sum(axis=0), weights)
            shares = 1.0 / np.maximum(np.abs(relative @ weights - 1.0), SMALL_ERROR)
        self._weights = weights


def _nonnegative(products: F64, targets: F64, start: F64) -> F64:
    """The x >= 0 with the least x' A x / 2 - b x, A with a little on its diagonal, by coordinate descent."""
    matrix, target = products.tolist(), targets.tolist()
    mean = max(sum(matrix[i][i] for i in range(4)) / 4, 1e-12)
    x: list[float] = start.tolist()
    for _ in range(SWEEPS):
        for i in range(4):
            row = matrix[i]
            others = sum(row[j] * x[j] for j in range(4) if j != i)
            x[i] = max(0.0, (target[i] - others) / (row[i] + RIDGE * mean))
    return np.array(x)
