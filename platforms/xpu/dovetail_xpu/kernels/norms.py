"""Launchers of norms."""

from __future__ import annotations

from dovetail_sdk.opencl import Array, Function, buffers

from .tools import Tools


class Norms:
    """Over the last axis of [*, W]; arguments as in dovetail_sdk.reference.ops, weights f32."""

    def __init__(self, tools: Tools) -> None:
        self._tools, self._group = tools, tools.variant.group

    def rms_norm(self, x: Array, *, weight: Array, eps: float) -> Array:
        lines, inner, width = x.lines
        y = self._tools.new(x.shape, x.dtype)
        function = self._function("rms_norm", "biibbiif", x.dtype)
        sizes = (width, inner, eps)
        function((lines,), (self._group,), *buffers(x), weight.buffer, y.buffer, *sizes)
        return y

    def add_rms_norm(
        self, x: Array, residual: Array, *, weight: Array, eps: float
    ) -> tuple[Array, Array]:
        lines, inner, width = x.lines
        y, total = (self._tools.new(x.shape, x.dtype) for _ in range(2))
        function = self._function("add_rms_norm", "biibiibbbiif", x.dtype)
        outputs = (y.buffer, total.buffer)
        given = buffers(x, residual)
        function((lines,), (self._group,), *given, weight.buffer, *outputs, width, inner, eps)
        return y, total

    def layer_norm(
        self, x: Array, *, weight: Array, eps: float, bias: Array | None = None
    ) -> Array:
        lines, inner, width = x.lines
        y = self._tools.new(x.shape, x.dtype)
        function = self._function("layer_norm", "biibbibiif", x.dtype)
        other = weight if bias is None else bias
        weights = (weight.buffer, other.buffer, int(bias is not None))
        function((lines,), (self._group,), *buffers(x), *weights, y.buffer, width, inner, eps)
        return y

    def _function(self, name: str, signature: str, dtype: str) -> Function:
        subgroup = self._tools.variant.subgroup
        macros = {"SUBGROUP": subgroup} if subgroup else {}
        return self._tools.function(
            "norms.cl", name, signature, VALUE=dtype, GROUP=self._group, **macros
        )
