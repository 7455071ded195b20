"""Launcher of matrix products, and how weights are laid out for it (linear.cl)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from dovetail_sdk.opencl import Array, Function, buffers
from dovetail_sdk.runner import NodeWeights
from numpy.typing import NDArray

from .tools import Tools, ceil

BLOCK = 16
"""Outputs whose weights lie side by side."""
_FEW = 4
_TILES = 4
"""Times eight lines that a sub-group of the matrix unit takes at once."""
_AT_ONCE = 8
_SIGNATURE = "biiiiibbbibibi"


@dataclass(frozen=True, slots=True)
class Packed:
    """A weight on the device.

    kind    f32, f16, bf16, i8 or i4
    scale   of i8 and i4, else some array that is not read
    """

    kind: str
    data: Array
    scale: Array
    zero: Array
    group: int
    outputs: int


class Linear:
    """x @ weight.T + bias."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def pack(self, weights: NodeWeights) -> Mapping[str, Any]:
        """Blocks of sixteen outputs; tied weights are kept once. Builds what will be called."""
        made: dict[str, Any] = {"weight": pack_weight(weights, "weight", self._tools), "bias": None}
        if "bias" in weights:
            bias = np.asarray(weights.f32("bias"))
            made["bias"] = self._tools.backend.upload(_padded(bias, 0, BLOCK))
        for lines in (1, _FEW, _AT_ONCE):
            self._function(made["weight"].kind, weights.graph.dtype, lines)
        if self._fills_unit(made["weight"].kind, weights.graph.dtype, _AT_ONCE):
            self._unit(made["weight"].kind, weights.graph.dtype)
        return made

    def linear(self, x: Array, *, weight: Packed, bias: Array | None = None) -> Array:
        """x [*, I] -> [*, O]"""
        lines, inner, width = x.lines
        y = self._tools.new((*x.shape[:-1], weight.outputs), x.dtype)
        variant = self._tools.variant
        if self._fills_unit(weight.kind, x.dtype, lines):
            function, rows, each = (
                self._unit(weight.kind, x.dtype),
                8 * _TILES,
                variant.linear_group,
            )
        else:
            function, rows = self._function(weight.kind, x.dtype, lines)
            each = variant.linear_group if variant.lane else BLOCK * _blocks(rows)
        function(
            (ceil(lines, rows), ceil(weight.outputs, each)),
            (variant.linear_group, 1),
            *(*buffers(x), inner, lines, width),
            *(weight.data.buffer, weight.scale.buffer, weight.zero.buffer, weight.group),
            *((weight.scale if bias is None else bias).buffer, int(bias is not None)),
            *(y.buffer, weight.outputs),
        )
        return y

    def _function(self, kind: str, dtype: str, lines: int) -> tuple[Function, int]:
        """The function for so many lines, and how many it takes at once."""
        rows = 1 if lines == 1 else _FEW if lines <= _FEW else _AT_ONCE
        variant = self._tools.variant
        function = self._tools.function(
            "linear.cl",
            "linear",
            _SIGNATURE,
            VALUE=dtype,
            WEIGHT=kind,
            ROWS=rows,
            GROUP=variant.linear_group,
            LANE=variant.lane,
            BLOCKS=_blocks(rows),
            SCALED=kind == "i8",
            GROUPED=kind == "i4",
        )
        return function, rows

    def _fills_unit(self, kind: str, dtype: str, lines: int) -> bool:
        """Whether a product goes to the matrix unit, which multiplies numbers of one sixteen-bit type."""
        able = dtype in ("f16", "bf16") and kind in (dtype, "i8", "i4")
        return self._tools.variant.matrix and able and lines >= 8

    def _unit(self, kind: str, dtype: str) -> Function:
        variant = self._tools.variant
        return self._tools.function(
            "linear_matrix.cl",
            "linear_matrix",
            _SIGNATURE,
            VALUE=dtype,
            WEIGHT=kind,
            GROUP=variant.linear_group,
            SUBGROUP=variant.subgroup,
            TILES=_TILES,
            SCALED=kind == "i8",
            GROUPED=kind == "i4",
            EMULATED=variant.emulated,
        )


def pack_weight(weights: NodeWeights, role: str, tools: Tools, parts: int = 1) -> Packed:
    """A weight in blocks of sixteen outputs; those of each of its parts (experts) begin a block."""
    lane, backend = tools.variant.lane, tools.backend
    form, stored = weights.form(role), np.asarray(weights.read(role))
    data, outputs, nothing = _in_parts(stored, parts), len(stored) // parts, backend.nothing
    if form.kind == "int4_group":
        scale, zero = (
            _in_parts(np.asarray(weights.read(role, plane), np.float32), parts)
            for plane in ("scale", "zero")
        )
        planes = [backend.upload(blocks(plane, lane=False)) for plane in (scale, zero)]
        nibbles = backend.upload(packed_int4(data, lane=lane))
        return Packed("i4", nibbles, planes[0], planes[1], form.group, outputs)
    laid = backend.upload(blocks(data, lane=lane))
    if form.kind == "dense":
        return Packed(form.dtype, laid, nothing, nothing, 1, outputs)
    scale = np.asarray(weights.read(role, "scale"), np.float32)
    scales = backend.upload(_padded(_in_parts(scale, parts), 0, BLOCK))
    return Packed("i8", laid, scales, nothing, 1, outputs)


def _in_parts(array: NDArray[Any], parts: int) -> NDArray[Any]:
    """[parts * O, ...] with zeros behind each part where there are several, so that each begins a block."""
    if parts == 1 or not len(array) // parts % BLOCK:
        return array
    whole = _padded(array.reshape(parts, -1, *array.shape[1:]), 1, BLOCK)
    return whole.reshape(-1, *array.shape[1:])


def _blocks(rows: int) -> int:
    """Blocks of outputs for one item (macro BLOCKS): several share the lines that were staged, where there are many."""
    return 1 if rows == 1 else 4


def blocks(data: NDArray[Any], *, lane: bool) -> NDArray[Any]:
    """[O, I] -> [O / 16, I, 16], or for an item per output [O / 16, I / 16, 16, 16]; padded with zeros."""
    data = _padded(data, 0, BLOCK)
    if not lane:
        return np.ascontiguousarray(data.reshape(-1, BLOCK, data.shape[1]).swapaxes(1, 2))
    data = _padded(data, 1, 16)
    parted = data.reshape(-1, BLOCK, data.shape[1] // 16, 16)
    return np.ascontiguousarray(parted.swapaxes(1, 2))


def packed_int4(data: NDArray[Any], *, lane: bool) -> NDArray[np.uint8]:
    """Bytes [O, I / 2], two inputs each, in the same blocks: [O / 16, I / 2, 16] or [O / 16, I / 16, 16, 8]."""
    data = _padded(data.astype(np.uint8, copy=False), 0, BLOCK)
    if not lane:
        return np.ascontiguousarray(data.reshape(-1, BLOCK, data.shape[1]).swapaxes(1, 2))
    data = _padded(data, 1, 8)
    return np.ascontiguousarray(data.reshape(-1, BLOCK, data.shape[1] // 8, 8).swapaxes(1, 2))


def _padded(array: NDArray[Any], axis: int, multiple: int) -> NDArray[Any]:
    """With zeros behind, up to a multiple along an axis."""
    more = -array.shape[axis] % multiple
    if not more:
        return np.ascontiguousarray(array)
    widths = [(0, more if index == axis else 0) for index in range(array.ndim)]
    return np.pad(array, widths)
