"""Numbers: weights made from their names alone, and how far results are apart."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from dovetail.graph import Graph, Weight, WeightForm
from dovetail.platform import F32
from numpy.typing import NDArray

from .check import Failed

Array = NDArray[Any]
Fill = Callable[[str, tuple[int, ...], np.random.Generator], F32]
"""Name of a tensor, shape, generator -> its numbers."""

STORED: Mapping[str, Any] = {"f32": np.float32, "bf16": ml_dtypes.bfloat16, "f16": np.float16}
"""Dense forms and compute dtypes as NumPy types."""


def generator(*words: object) -> np.random.Generator:
    """The same generator for the same words, on every machine and in every run."""
    return np.random.default_rng(zlib.crc32("/".join(map(str, words)).encode()))


class Weights:
    """A WeightSource whose numbers depend on the names of tensors and the fill alone.

    Merged weights have the rows of their parts, so that a rewritten graph computes what the plain one does. Arrays
    are read-only: a plugin that writes to them is found out.
    """

    def __init__(self, graph: Graph, fill: Fill, plain: Graph | None = None, seed: int = 0) -> None:
        """plain: the graph before it was rewritten, whose weights are the parts."""
        self._graph = graph
        self._fill = fill
        self._seed = seed
        self._shapes = {name: weight.shape for name, weight in (plain or graph).weights.items()}
        self._planes: dict[tuple[str, str], Array] = {}

    def spec(self, name: str) -> Weight:
        """See WeightSource."""
        return self._graph.weights[name]

    def planes(self, name: str) -> tuple[str, ...]:
        """See WeightSource."""
        kind = self._graph.weights[name].form.kind
        return {"dense": ("data",), "int4_group": ("data", "scale", "zero")}.get(
            kind, ("data", "scale")
        )

    def read(self, name: str, plane: str = "data", rows: slice = slice(None)) -> Array:
        """See WeightSource."""
        found = self._planes.get((name, plane))
        if found is None:
            weight = self._graph.weights[name]
            parts = [self._part(part, weight.form)[plane] for part in weight.parts]
            found = parts[0] if len(parts) == 1 else np.concatenate(parts)
            found.setflags(write=False)
            self._planes[name, plane] = found
        return found[rows]

    def _part(self, part: str, form: WeightForm) -> dict[str, Array]:
        rng = generator(part, self._seed)
        numbers = self._fill(part, self._shapes[part], rng)
        return quantised(numbers, form)


def quantised(numbers: F32, form: WeightForm) -> dict[str, Array]:
    """Planes of a form that come near to f32 numbers [O, I] or [n]."""
    if form.kind == "dense":
        return {"data": np.ascontiguousarray(numbers.astype(STORED[form.dtype]))}
    if form.kind == "int8_channel":
        scale = np.maximum(np.abs(numbers).max(axis=1), 1e-8) / np.float32(127)
        data = np.clip(np.rint(numbers / scale[:, None]), -127, 127).astype(np.int8)
        return {"data": data, "scale": scale.astype(np.float32)}
    if form.kind == "fp8_channel":
        scale = np.maximum(np.abs(numbers).max(axis=1), 1e-8) / np.float32(448)
        data = (numbers / scale[:, None]).astype(ml_dtypes.float8_e4m3fn)
        return {"data": data, "scale": scale.astype(np.float32)}
    grouped = numbers.reshape(len(numbers), -1, form.group)
    low, high = grouped.min(axis=2), grouped.max(axis=2)
    scale = (np.maximum(high - low, 1e-8) / 15).astype(np.float32)
    zero = np.clip(np.rint(-low / scale), 0, 15).astype(np.uint8)
    levels = np.rint(grouped / scale[..., None]) + zero[..., None]
    nibbles = np.clip(levels, 0, 15).astype(np.uint8).reshape(len(numbers), -1, 2)
    data = np.ascontiguousarray(nibbles[..., 0] | nibbles[..., 1] << 4)
    return {"data": data, "scale": scale, "zero": zero}


def error(found: Array, wanted: Array) -> float:
    """Normalised mean squared error: |found - wanted|^2 / |wanted|^2."""
    wanted = wanted.astype(np.float64)
    scale = float(np.square(wanted).sum())
    return float(np.square(found - wanted).sum()) / max(scale, 1e-30)


def require_close(what: str, found: Array, wanted: Array, tolerance: float) -> None:
    """Failed unless the shapes are equal, all is finite and the error within the tolerance."""
    if found.shape != wanted.shape:
        raise Failed(f"{what}: shape {found.shape}, expected {wanted.shape}")
    if found.dtype != np.float32:
        raise Failed(f"{what}: dtype {found.dtype}, expected float32")
    if not wanted.size:
        return
    if not np.isfinite(found).all():
        raise Failed(
            f"{what}: {int((~np.isfinite(found)).sum())} of {found.size} numbers are not finite"
        )
    if not (value := error(found, wanted)) <= tolerance:
        worst = int(np.abs(found - wanted).reshape(len(found), -1).max(axis=1).argmax())
        raise Failed(f"{what}: error {value:.2g} exceeds {tolerance:.2g}, worst in row {worst}")
