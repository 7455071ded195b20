"""Launchers of ops on one number at a time, and of views."""

from __future__ import annotations

from dovetail_sdk.opencl import Array, Function, buffers

from .tools import Tools, ceil

_KINDS = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3}
_NUMBERS = 64
"""That a group takes of a row."""


class Pointwise:
    """One op per method; arguments as in dovetail_sdk.reference.ops, arrays [T, ...]."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._vec = 1 if tools.variant.lane else 16

    def activation(self, x: Array, *, activation: str) -> Array:
        return self._one("activation", "i", x, _KINDS[activation])

    def gated_activation(self, gate: Array, up: Array, *, activation: str) -> Array:
        return self._two("gated_activation", gate, up, "i", _KINDS[activation])

    def split_gated_activation(self, x: Array, *, activation: str) -> Array:
        gate, up = self.split(x, sizes=(x.shape[-1] // 2,) * 2)
        return self.gated_activation(gate, up, activation=activation)

    def add(self, a: Array, b: Array) -> Array:
        return self._two("add", a, b)

    def mul(self, a: Array, b: Array) -> Array:
        return self._two("mul", a, b)

    def scale(self, x: Array, *, factor: float) -> Array:
        return self._one("scale", "f", x, factor)

    def soft_cap(self, x: Array, *, cap: float) -> Array:
        return self._one("soft_cap", "f", x, cap)

    def tanh(self, x: Array) -> Array:
        return self._one("hyperbolic_tangent", "", x)

    def reshape(self, x: Array, *, shape: tuple[int, ...]) -> Array:
        """A view."""
        return x.shaped(*shape)

    def split(self, x: Array, *, sizes: tuple[int, ...]) -> tuple[Array, ...]:
        """Views of a matrix; copies where there are axes in between."""
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        if len(x.shape) == 2:
            return tuple(x.columns(at, size) for at, size in zip(starts, sizes, strict=True))
        return tuple(self._part(x, at, size) for at, size in zip(starts, sizes, strict=True))

    def _part(self, x: Array, start: int, size: int) -> Array:
        lines, inner, line = x.lines
        y = self._tools.new((*x.shape[:-1], size), x.dtype)
        function = self._function("columns", "biibiiii", x.dtype)
        self._issue(function, lines, size, *buffers(x), y.buffer, size, inner, line, start)
        return y

    def _one(self, name: str, extra: str, x: Array, *arguments: float) -> Array:
        y = self._tools.new(x.shape, x.dtype)
        function = self._function(name, "biibi" + extra, x.dtype)
        width = x.width
        self._issue(function, x.shape[0], width, *buffers(x), y.buffer, width, *arguments)
        return y

    def _two(self, name: str, a: Array, b: Array, extra: str = "", *arguments: int) -> Array:
        y = self._tools.new(a.shape, a.dtype)
        function = self._function(name, "biibiibi" + extra, a.dtype)
        width = a.width
        self._issue(function, a.shape[0], width, *buffers(a, b), y.buffer, width, *arguments)
        return y

    def _function(self, name: str, signature: str, dtype: str) -> Function:
        return self._tools.function("pointwise.cl", name, signature, VALUE=dtype, VEC=self._vec)

    def _issue(self, function: Function, rows: int, width: int, *arguments: object) -> None:
        function((ceil(width, _NUMBERS), rows), (_NUMBERS // self._vec, 1), *arguments)
