"""Weights from the process that has the checkpoint to the members, piece by piece through shared memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from dovetail.graph import Graph, Weight
from numpy.typing import NDArray

from .channel import PIECE_BYTES

Ask = Callable[[str, str, int, int], tuple[tuple[int, ...], np.dtype[Any], memoryview]]
"""Weight, plane, first row, end -> shape, type and bytes of those rows."""


class RemoteSource:
    """The member's weights: a WeightSource of the contract. One thread at a time.

    graph   the member's own
    planes  of each weight
    """

    def __init__(self, graph: Graph, planes: dict[str, tuple[str, ...]], ask: Ask) -> None:
        self._weights, self._planes, self._ask = graph.weights, planes, ask

    def spec(self, name: str) -> Weight:
        return self._weights[name]

    def planes(self, name: str) -> tuple[str, ...]:
        return self._planes[name]

    def read(
        self, name: str, plane: str = "data", rows: slice = slice(None)
    ) -> NDArray[np.generic]:
        weight = self._weights[name]
        start, stop, _ = rows.indices(weight.shape[0])
        row_bytes = 4 * math.prod(weight.shape[1:])  # no form has more
        step = max(1, PIECE_BYTES // max(1, row_bytes))
        whole: NDArray[Any] | None = None
        for first in range(start, max(stop, start + 1), step):
            end = min(first + step, stop)
            shape, dtype, raw = self._ask(name, plane, first, end)
            if whole is None:
                whole = np.empty((max(0, stop - start), *shape[1:]), dtype)
            part = np.frombuffer(raw, dtype, math.prod(shape)).reshape(shape)
            whole[first - start : end - start] = part
        assert whole is not None
        whole.flags.writeable = False
        return whole
