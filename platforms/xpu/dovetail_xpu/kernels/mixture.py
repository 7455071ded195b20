"""Launcher of mixtures of experts (mixture.cl). Each pair of a token and an expert is multiplied by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dovetail_sdk.opencl import Array, Function, buffers
from dovetail_sdk.runner import NodeWeights

from .linear import BLOCK, Packed, pack_weight
from .pointwise import Pointwise
from .tools import Tools, ceil

_COLUMNS = 64
"""Numbers of a row that a group of combine takes."""


class Mixture:
    """mixture; arguments as in dovetail_sdk.reference.expert_ops."""

    def __init__(self, tools: Tools, pointwise: Pointwise) -> None:
        self._tools, self._pointwise = tools, pointwise

    def pack(self, weights: NodeWeights) -> Mapping[str, Any]:
        """Each expert in blocks of sixteen outputs of its own. Builds what will be called."""
        experts = int(weights.graph.values[weights.node.inputs[1]].shape[1])
        made = {
            role: pack_weight(weights, role, self._tools, parts=experts)
            for role in ("gate_up", "down")
        }
        dtype = weights.graph.dtype
        self._product(made["gate_up"].kind, dtype)
        self._product(made["down"].kind, "f32")
        return made

    def mixture(
        self,
        x: Array,
        logits: Array,
        *,
        gate_up: Packed,
        down: Packed,
        k: int,
        normalised: bool,
        activation: str,
    ) -> Array:
        """x [T, E], logits [T, X] -> [T, E]; what lies in between is f32."""
        chosen, shares = self._route(logits, k, normalised)
        inner = self._pointwise.split_gated_activation(
            self._multiply(x, k, chosen, gate_up), activation=activation
        )
        made = self._multiply(inner, 1, chosen, down)
        y = self._tools.new(x.shape, x.dtype)
        function = self._function("combine", "bbbii", x.dtype, "f32")
        given = (made.buffer, shares.buffer, y.buffer, k, x.width)
        function((ceil(x.width, _COLUMNS), x.shape[0]), (_COLUMNS, 1), *given)
        return y

    def _route(self, logits: Array, k: int, normalised: bool) -> tuple[Array, Array]:
        """Experts and shares of each pair [T * k]."""
        tokens, experts = logits.shape
        chosen, shares = (self._tools.new((tokens * k,), dtype) for dtype in ("i32", "f32"))
        function = self._function("route", "biibbiiil", logits.dtype, "f32")
        function(
            (tokens,),
            (self._tools.variant.group,),
            *(*buffers(logits), chosen.buffer, shares.buffer),
            *(experts, k, int(normalised), 4 * experts),
        )
        return chosen, shares

    def _multiply(self, x: Array, of: int, chosen: Array, weight: Packed) -> Array:
        """Each pair's line of x by its expert -> [pairs, outputs] f32; `of` pairs share a line."""
        variant, (pairs,) = self._tools.variant, chosen.shape
        y = self._tools.new((pairs, weight.outputs), "f32")
        each = variant.linear_group if variant.lane else BLOCK
        self._product(weight.kind, x.dtype)(
            (ceil(weight.outputs, each), pairs),
            (variant.linear_group, 1),
            *(*buffers(x), of, chosen.buffer),
            *(weight.data.buffer, weight.scale.buffer, weight.zero.buffer, weight.group),
            *(y.buffer, x.width, weight.outputs),
        )
        return y

    def _product(self, kind: str, dtype: str) -> Function:
        return self._function("product", "biiibbbbibii", dtype, kind)

    def _function(self, name: str, signature: str, dtype: str, kind: str) -> Function:
        variant = self._tools.variant
        return self._tools.function(
            "mixture.cl",
            name,
            signature,
            VALUE=dtype,
            WEIGHT=kind,
            GROUP=variant.group,
            LANE=variant.lane,
            SCALED=kind == "i8",
            GROUPED=kind == "i4",
        )
