"""Launcher of rotary positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from dovetail_sdk.opencl import Array, buffers
from dovetail_sdk.runner import NodeWeights

from .tools import Tools, ceil


class Rope:
    """Angles are made once per step and kept with its positions."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._angles = tools.function("rope.cl", "rope_angles", "bbbif", VALUE="f32")

    def pack(self, weights: NodeWeights) -> Mapping[str, Any]:
        """The frequencies on the device, once for all nodes that have the same."""
        turns = weights.node.attributes["frequencies"]
        return {"table": self._tools.backend.upload(np.array(turns, np.float32))}

    def rope(
        self,
        x: Array,
        positions: Array,
        *,
        frequencies: tuple[float, ...],
        table: Array,
        factor: float = 1.0,
        interleaved: bool = False,
    ) -> Array:
        """x [T, H, D] or a view; see dovetail_sdk.reference.ops."""
        tokens, heads, width = x.shape
        n = len(frequencies)
        key = ("angles", frequencies, factor)
        angles = positions.made.get(key)
        if angles is None:
            angles = positions.made[key] = self._tools.new((tokens, n, 2), "f32")
            given = (positions.buffer, table.buffer, angles.buffer)
            self._angles((ceil(n, 16), tokens), (16, 1), *given, n, factor)
        y = self._tools.new(x.shape, x.dtype)
        function = self._tools.function("rope.cl", "rope", "biibbiiii", VALUE=x.dtype)
        sizes = (heads, width, n, int(interleaved))
        function((heads, tokens), (1, 1), *buffers(x), angles.buffer, y.buffer, *sizes)
        return y
