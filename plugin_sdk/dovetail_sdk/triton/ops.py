"""Ops of this package's own: fused ones, which a graph has only where a device wants them."""

from __future__ import annotations

from collections.abc import Iterator

from dovetail.graph import COMPUTE_DTYPES, OPS, Case, Operand, OpSpec, Step, register

_ROPE = OPS["rope"]
_ROTATED = {spec.name: spec.name for spec in _ROPE.attributes}


def rope_write_cases() -> Iterator[Case]:
    """Queries and keys in other numbers, some of the width or all of it, far positions."""

    def case(
        name: str,
        dtype: str = "f32",
        heads: tuple[int, int] = (4, 2),
        pairs: int = 16,
        position: int = 0,
        interleaved: bool = False,
    ) -> Case:
        frequencies = tuple(100.0 ** (-index / pairs) for index in range(pairs))
        return Case(
            op="dovetail.rope_write",
            name=name,
            dtype=dtype,
            axes={"H": heads[0], "K": heads[1], "D": 32, "Dv": 32},
            attributes={"frequencies": frequencies, "interleaved": interleaved},
            steps=((5, 1, 9), (1, 1, 1)),
            position=position,
        )

    for dtype in COMPUTE_DTYPES:
        yield case("whole", dtype)
        yield case("partial", dtype, pairs=5)
    yield case("interleaved", interleaved=True)
    yield case("one_key_head", heads=(3, 1))
    yield case("far", position=30000)


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
    tolerance=OPS["attention"].tolerance,  # what was written shows in what attention reads
    cases=rope_write_cases,
)
register(ROPE_WRITE)

FUSED: tuple[str, ...] = (ROPE_WRITE.name,)
"""Names for Capabilities.fused_ops."""
