"""Ops that only a divided graph has (passes/shard.py).

In a graph that is whole, one program for all devices, the collectives are the identity: its values are whole already, and
they mark where a partitioner moves numbers. In a member's view of it they meet those of the other members.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .cases import Case
from .graph import COMPUTE_DTYPES
from .spec import Attributes, AttributeSpec, Axes, Operand, OpSpec, Shape
from .tolerances import EXACT

RAGGED = ((5, 1, 9),)


def all_gather_rule(axes: Axes, attributes: Attributes) -> Sequence[Shape]:
    parts = attributes["parts"]
    assert isinstance(parts, int)
    return [(*(axes.leading or ()), parts * axes.number("W"))]


def all_reduce_cases() -> Iterator[Case]:
    for dtype in COMPUTE_DTYPES:
        for leading in ((32,), (3, 5)):
            name = "x".join(map(str, leading))
            yield Case(op="all_reduce", name=name, dtype=dtype, leading=leading, steps=RAGGED)


def all_gather_cases() -> Iterator[Case]:
    for dtype in COMPUTE_DTYPES:
        for width in (16, 7):
            yield Case(
                op="all_gather",
                name=f"one_member_{width}",
                dtype=dtype,
                axes={"W": width},
                attributes={"parts": 1},
                steps=RAGGED,
            )


def embed_part_cases() -> Iterator[Case]:
    for dtype in COMPUTE_DTYPES:
        for name, first in (("all", 0), ("later", 20), ("none", 500)):
            yield Case(
                op="embed_part",
                name=name,
                dtype=dtype,
                axes={"V": 64, "E": 12},
                attributes={"first": first},
                steps=RAGGED,
            )


MESH_SPECS = (
    OpSpec(
        "all_reduce",
        "the sum over the members of a mesh, on each of them",
        inputs=(Operand("x", "*"),),
        outputs=(Operand("y", "*"),),
        tolerance=EXACT,
        cases=all_reduce_cases,
    ),
    OpSpec(
        "all_gather",
        "the members' parts of the last axis, in the order of the members",
        inputs=(Operand("x", "* W"),),
        attributes=(AttributeSpec("parts", "int", required=False, default=1, at_least=1),),
        outputs=(Operand("y", "* W"),),
        rule=all_gather_rule,
        tolerance=EXACT,
        cases=all_gather_cases,
    ),
    OpSpec(
        "embed_part",
        "y[t] = table[ids[t] - first] where the table has that row, else 0",
        inputs=(Operand("ids", "T", "i32"),),
        weights=(Operand("table", "V E"),),
        attributes=(AttributeSpec("first", "int", at_least=0),),
        outputs=(Operand("y", "T E"),),
        tolerance=EXACT,
        cases=embed_part_cases,
    ),
)
