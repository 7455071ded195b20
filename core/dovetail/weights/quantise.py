"""Quantising a matrix at load: int8 or fp8 per output channel, int4 in groups of inputs.

Row by row in blocks that stay in a core's cache, so that the peak beyond the result is a few MiB whatever the matrix.
Round to nearest; no calibration data is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from dovetail.graph import WeightForm

F32Array = NDArray[np.float32]
Planes = dict[str, NDArray[Any]]
ReadRows = Callable[[slice], F32Array]

E4M3: np.dtype[Any] = np.dtype(ml_dtypes.float8_e4m3fn)
LARGEST_E4M3 = np.float32(448)

BLOCK_ELEMENTS = 1 << 18
GROUPS = (128, 64, 32)
QUANTISER = 1
"""Raised with every change of what `quantise` makes of a matrix: planes kept on disk are of no use then."""


class NotFinite(ValueError):
    """A matrix holds NaN or infinity; `row` is the first row that does."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row} holds NaN, infinity or numbers next to it")
        self.row = row


def group_of(width: int) -> int | None:
    """Inputs that share a scale in int4: the most of 128, 64 and 32 that divide the width, None if none does."""
    return next((group for group in GROUPS if width % group == 0), None)


def quantise(read: ReadRows, shape: tuple[int, int], form: WeightForm) -> Planes:
    """All planes of a matrix in a quantised form.

    read   rows of the matrix [O, I] as f32; may return a buffer that the next call overwrites, is written to
    form   int8_channel, fp8_channel, or int4_group with a group that divides I

    Raises NotFinite.
    """
    outputs, inputs = shape
    planes = empty_planes(shape, form)
    step = max(1, BLOCK_ELEMENTS // max(1, inputs))
    for start in range(0, outputs, step):
        rows = slice(start, min(start + step, outputs))
        block = read(rows)
        into = {name: plane[rows] for name, plane in planes.items()}
        with np.errstate(invalid="ignore", over="ignore"):
            if form.kind == "int8_channel":
                _int8(block, into)
            elif form.kind == "fp8_channel":
                _fp8(block, into)
            else:
                _int4(block, form.group, into)
        scale = into["scale"]
        if not np.isfinite(scale).all():
            finite = np.isfinite(scale.reshape(len(scale), -1)).all(axis=1)
            raise NotFinite(start + int(np.argmin(finite)))
    return planes


def empty_planes(shape: tuple[int, int], form: WeightForm) -> Planes:
    """Planes of the right shape and dtype with nothing in them yet."""
    outputs, inputs = shape
    if form.kind != "int4_group":
        dtype = np.dtype(np.int8) if form.kind == "int8_channel" else E4M3
        return {"data": np.empty(shape, dtype), "scale": np.empty(outputs, np.float32)}
    groups = (outputs, inputs // form.group)
    return {
        "data": np.empty((outputs, inputs // 2), np.uint8),
        "scale": np.empty(groups, np.float32),
        "zero": np.empty(groups, np.uint8),
    }


def dequantise(planes: Planes, form: WeightForm) -> F32Array:
    """The matrix [O, I] that the planes stand for, f32."""
    data, scale = planes["data"], planes["scale"]
    if form.kind != "int4_group":
        return np.asarray(data.astype(np.float32) * scale[:, None])
    halves = np.stack([data & 15, data >> 4], axis=-1).reshape(*scale.shape, form.group)
    steps = halves.astype(np.float32) - planes["zero"][..., None].astype(np.float32)
    return np.asarray(steps * scale[..., None]).reshape(len(data), -1)


def _int8(block: F32Array, into: Planes) -> None:
    """scale = max |w| / 127, data = round(w / scale); a row of zeros has scale 1."""
    largest = np.maximum(block.max(axis=1), -block.min(axis=1))
    scale = _usable(largest / np.float32(127))
    np.divide(block, scale[:, None], out=block)
    np.rint(block, out=block)
    np.copyto(into["data"], block, casting="unsafe")
    into["scale"][:] = scale


def _fp8(block: F32Array, into: Planes) -> None:
    """scale = max |w| / 448, data = w / scale in e4m3fn, to nearest even; a row of zeros has scale 1."""
    largest = np.maximum(block.max(axis=1), -block.min(axis=1))
    scale = _usable(largest / LARGEST_E4M3)
    np.divide(block, scale[:, None], out=block)
    into["data"][...] = block.astype(E4M3)
    into["scale"][:] = scale


def _int4(block: F32Array, group: int, into: Planes) -> None:
    """scale = (high - low) / 15 with 0 in [low, high], zero = round(-low / scale), data = round(w / scale) + zero."""
    steps = block.reshape(len(block), -1, group)
    low = np.minimum(_fold(np.minimum, steps), 0)
    high = np.maximum(_fold(np.maximum, steps), 0)
    scale = _usable((high - low) / np.float32(15))
    zero = np.clip(np.rint(-low / scale), 0, 15)
    np.divide(steps, scale[..., None], out=steps)
    np.rint(steps, out=steps)
    np.add(steps, zero[..., None], out=steps)
    np.clip(block, 0, 15, out=block)
    # Two neighbours lie in one little-endian 16-bit word: low + 256 high. Shifted by four onto itself, its low byte
    # is low + 16 high.
    pairs = block.astype(np.uint8).view("<u2")
    np.copyto(into["data"], pairs | (pairs >> 4), casting="unsafe")
    into["scale"][:] = scale
    np.copyto(into["zero"], zero, casting="unsafe")


def _usable(scale: NDArray[Any]) -> F32Array:
    """A scale too small to divide by is that of a group of zeros, for which any will do."""
    scale[scale < np.finfo(np.float32).tiny] = 1
    return scale


def _fold(best: np.ufunc, steps: F32Array) -> F32Array:
    """Reduce the last axis, a power of two, by halves: for short axes several times faster than best.reduce."""
    while (width := steps.shape[-1]) > 1:
        steps = best(steps[..., : width // 2], steps[..., width // 2 :])
    return steps[..., 0]
