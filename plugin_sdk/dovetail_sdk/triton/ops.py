"""Ops of this package's own: fused ones, which a graph has only where a device wants them."""

from __future__ import annotations

from dovetail.graph import OPS, Operand, OpSpec, Step, register

_ROPE = OPS["rope"]
_ROTATED = {spec.name: spec.name for spec in _ROPE.attributes}

ROPE_WRITE = OpSpec(
    "dovetail.rope_write",
    "rope of q and of k, then kv_write of the rotated keys",
    inputs=(
        Operand("q", "T H D"),
        Operand("k", "T K D"),
        Operand("v", "T K Dv"),
        Operand("positions", "P T", "i32"),
    ),
    attributes=_ROPE.attributes,
    outputs=(Operand("rotated", "T H D"), Operand("written", "", "cache")),
    layered=True,
    rule=_ROPE.rule,
    decomposition=(
        Step("rope", ("q", "positions"), ("rotated",), attributes=dict(_ROTATED)),
        Step("rope", ("k", "positions"), ("rotated_k",), attributes=dict(_ROTATED)),
        Step("kv_write", ("rotated_k", "v"), ("written",)),
    ),
    tolerance=_ROPE.tolerance,
    cases=lambda: iter(()),
)
register(ROPE_WRITE)

FUSED: tuple[str, ...] = (ROPE_WRITE.name,)
"""Names for Capabilities.fused_ops."""
