"""What one member of a mesh holds of the weights of a divided graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from dovetail.graph import Graph, Sharding, Split, Weight
from dovetail.platform import WeightSource
from numpy.typing import NDArray


class LocalSource:
    """The weights of `graph.local(rank)`, cut from those of the whole graph: a WeightSource of the contract.

    graph   annotated by the core's pass
    source  of the whole graph's weights; planes of the parts that are read come from it as they are
    """

    def __init__(self, graph: Graph, rank: int, source: WeightSource) -> None:
        if graph.sharding is None:
            raise ValueError(f"graph {graph.name} is not divided")
        self._sharding: Sharding = graph.sharding
        self._weights = graph.local(rank).weights
        self._rank, self._source = rank, source

    def spec(self, name: str) -> Weight:
        return self._weights[name]

    def planes(self, name: str) -> tuple[str, ...]:
        return self._source.planes(name)

    def read(
        self, name: str, plane: str = "data", rows: slice = slice(None)
    ) -> NDArray[np.generic]:
        weight, split = self._weights[name], self._sharding.weights.get(name)
        if split is None:
            return self._source.read(name, plane, rows)
        if split.axis == 0:
            start, stop, _ = rows.indices(weight.shape[0])
            return self._rows(name, plane, split, start, stop)
        whole: NDArray[Any] = self._source.read(name, plane, rows)
        if whole.ndim < 2:  # a scale per output: of all its inputs
            return whole
        shorter = sum(section.length for section in split.sections) // whole.shape[1]
        pieces = [
            whole[:, piece.start // shorter : piece.stop // shorter]
            for piece in split.slices(self._rank, self._sharding.members)
        ]
        return _joined(pieces, axis=1)

    def _rows(
        self, name: str, plane: str, split: Split, start: int, stop: int
    ) -> NDArray[np.generic]:
        """Rows start to stop of the member's own."""
        pieces, before = [], 0
        for piece in split.slices(self._rank, self._sharding.members):
            length = piece.stop - piece.start
            low, high = max(start - before, 0), min(stop - before, length)
            if low < high:
                rows = slice(piece.start + low, piece.start + high)
                pieces.append(self._source.read(name, plane, rows))
            before += length
        return _joined(pieces, axis=0) if pieces else self._source.read(name, plane, slice(0, 0))


def _joined(pieces: list[NDArray[np.generic]], axis: int) -> NDArray[np.generic]:
    """One array, without a copy where it is one already."""
    joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=axis)
    return np.ascontiguousarray(joined)
