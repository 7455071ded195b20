"""Launchers of ops that pick whole rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from dovetail_sdk.opencl import Array, buffers
from dovetail_sdk.runner import NUMPY_TYPES, NodeWeights

from .tools import Tools


class Rows:
    """embed, embed_positions, take_rows, mean_rows; arguments as in dovetail_sdk.reference.ops."""

    def __init__(self, tools: Tools) -> None:
        self._tools, self._group = tools, tools.variant.group

    def pack(self, weights: NodeWeights) -> Mapping[str, Any]:
        """The table as it is stored; int4 becomes the graph's type, since a row of it is read in one piece."""
        upload, form = weights.backend.upload, weights.form("table")
        dtype = weights.graph.dtype
        if form.kind == "int8_channel":
            scale = np.ascontiguousarray(weights.read("table", "scale"), np.float32)
            return {"table": upload(weights.read("table")), "scale": upload(scale), "dtype": dtype}
        if form.kind == "dense":
            return {"table": upload(weights.read("table")), "scale": None, "dtype": dtype}
        table = upload(weights.f32("table").astype(NUMPY_TYPES[dtype]))
        return {"table": table, "scale": None, "dtype": dtype}

    def embed(self, ids: Array, *, table: Array, scale: Array | None, dtype: str) -> Array:
        return self._embed(ids, ids.shape[0], table, scale, dtype, 0)

    def embed_positions(
        self, positions: Array, *, table: Array, scale: Array | None, dtype: str, offset: int = 0
    ) -> Array:
        """Plane 0 of positions [P, T]."""
        return self._embed(positions, positions.shape[1], table, scale, dtype, offset)

    def take_rows(self, x: Array, rows: Array) -> Array:
        y = self._tools.new((rows.shape[0], x.width), x.dtype)
        function = self._tools.function(
            "embed.cl", "take_rows", "biibbi", VALUE=x.dtype, TABLE=x.dtype
        )
        outputs = (y.buffer, x.width)
        function((rows.shape[0],), (self._group,), *buffers(x), rows.buffer, *outputs)
        return y

    def mean_rows(self, x: Array, row_starts: Array, rows: Array) -> Array:
        y = self._tools.new((rows.shape[0], x.width), x.dtype)
        function = self._tools.function(
            "embed.cl", "mean_rows", "biibbbi", VALUE=x.dtype, TABLE=x.dtype
        )
        given = (*buffers(x), row_starts.buffer, rows.buffer)
        function((rows.shape[0],), (self._group,), *given, y.buffer, x.width)
        return y

    def _embed(
        self, ids: Array, count: int, table: Array, scale: Array | None, dtype: str, offset: int
    ) -> Array:
        width = table.shape[1]
        y = self._tools.new((count, width), dtype)
        function = self._tools.function(
            "embed.cl",
            "embed",
            "bbbbii",
            VALUE=dtype,
            TABLE=table.dtype,
            SCALED=scale is not None,
        )
        scales = (table if scale is None else scale).buffer
        given = (ids.buffer, table.buffer, scales, y.buffer)
        function((count,), (self._group,), *given, width, offset)
        return y
