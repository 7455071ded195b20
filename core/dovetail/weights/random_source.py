"""Random numbers in place of a checkpoint: for benchmarks and tests of shapes that nobody has to download.

Every weight is cut from one random block, repeated, so that billions of numbers cost one copy each. Equal seeds give
equal numbers, whatever the order or the slices of the reads.
"""

from __future__ import annotations

import math
import zlib
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.graph import Graph, Weight

from .quantise import E4M3
from .source import NUMPY, planes_of

# A prime, so that the repeats never line up with the rows of a matrix.
_BLOCK = 1_048_573
_NORM_OPS = {"rms_norm", "layer_norm", "add_rms_norm"}


def random_weights(graph: Graph, seed: int = 0) -> RandomSource:
    """A source of random weights in the forms of the graph: matrices keep the size of what passes through them."""
    return RandomSource(graph, seed)


class RandomSource:
    """Deviation 1 / sqrt(I) in matrices, 1 +- 0.1 in norms, +- 0.02 in biases: a WeightSource of the contract."""

    def __init__(self, graph: Graph, seed: int) -> None:
        self._weights = graph.weights
        self._seed = seed
        self._norms = {
            name
            for node in graph.nodes
            for role, name in node.weights.items()
            if node.op in _NORM_OPS and role == "weight"
        }

    def spec(self, name: str) -> Weight:
        return self._weights[name]

    def planes(self, name: str) -> tuple[str, ...]:
        return planes_of(self._weights[name].form)

    def read(
        self, name: str, plane: str = "data", rows: slice = slice(None)
    ) -> NDArray[np.generic]:
        weight = self._weights[name]
        if plane not in planes_of(weight.form):
            raise KeyError(f"{name} in form {weight.form} has no plane {plane!r}")
        start, stop, step = rows.indices(weight.shape[0])
        if step != 1:
            raise ValueError(f"{name}: rows are read with step 1, not {step}")
        data = self._rows(weight, plane, start, max(start, stop))
        data.flags.writeable = False
        return data

    @cached_property
    def _normal(self) -> NDArray[np.float32]:
        """The block that all numbers but those of int4 are cut from."""
        return np.random.default_rng(self._seed).standard_normal(_BLOCK, dtype=np.float32)

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        """The block that all int4 numbers are cut from."""
        return np.frombuffer(np.random.default_rng(self._seed).bytes(_BLOCK), np.uint8)

    def _rows(self, weight: Weight, plane: str, start: int, stop: int) -> NDArray[Any]:
        inputs = weight.shape[-1]
        deviation = 1 / math.sqrt(inputs) if len(weight.shape) > 1 else 0.02
        if weight.form.kind == "dense":
            mean, spread = (1.0, 0.1) if weight.name in self._norms else (0.0, deviation)
            block = (mean + spread * self._normal).astype(NUMPY[weight.form.dtype])
            return self._cut(block, weight, weight.shape[1:], start, stop)
        if weight.form.kind != "int4_group":
            if plane == "scale":
                return np.full(stop - start, deviation / 32, np.float32)
            block = np.clip(np.rint(32 * self._normal), -127, 127)
            block = block.astype(np.int8 if weight.form.kind == "int8_channel" else E4M3)
            return self._cut(block, weight, (inputs,), start, stop)
        return self._int4(weight, plane, start, stop, deviation)

    def _int4(
        self, weight: Weight, plane: str, start: int, stop: int, deviation: float
    ) -> NDArray[Any]:
        inputs, group = weight.shape[-1], weight.form.group
        if plane == "data":
            return self._cut(self._bytes, weight, (inputs // 2,), start, stop)
        shape = (stop - start, inputs // group)
        if plane == "zero":
            # 7 and 8 by turns: the middle of 0 .. 15 lies between them.
            row, column = np.ogrid[start:stop, : shape[1]]
            return (7 + (row + column) % 2).astype(np.uint8)
        # Uniform on 16 steps has a deviation of sqrt(255 / 12) steps.
        return np.full(shape, deviation / math.sqrt(255 / 12), np.float32)

    def _cut(
        self, block: NDArray[Any], weight: Weight, width: tuple[int, ...], start: int, stop: int
    ) -> NDArray[Any]:
        """Rows of an endless repeat of the block, which each weight enters at a place of its own."""
        per_row = math.prod(width)
        first = zlib.crc32(weight.name.encode()) + start * per_row
        out = np.empty((stop - start) * per_row, block.dtype)
        done = 0
        while done < len(out):
            at = (first + done) % _BLOCK
            count = min(_BLOCK - at, len(out) - done)
            out[done : done + count] = block[at : at + count]
            done += count
        return out.reshape(stop - start, *width)
