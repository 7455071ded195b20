"""Ops of encoders: models that see whole sequences at once and keep no cache. Optional, like every op.

A step's rows are packed end to end; `row_starts` [G], an input of the graph with G = R + 1, says where each begins. The
meaning in numbers is the NumPy reference of the SDK.
"""

from __future__ import annotations

from . import encoder_cases
from .spec import Attributes, AttributeSpec, Axes, GraphError, Operand, OpSpec
from .tolerances import ACCUMULATED, EXACT, ROUNDED

ROW_STARTS = Operand("row_starts", "G", "i32")


def whole_attention_rule(axes: Axes, attributes: Attributes) -> None:
    heads, kv_heads = axes.number("H"), axes.number("K")
    if heads % kv_heads:
        raise GraphError(f"{heads} query heads; a multiple of the {kv_heads} key heads is needed")


ENCODER_SPECS = (
    OpSpec(
        "embed_positions",
        "y[t] = table[positions[0, t] + offset]",
        inputs=(Operand("positions", "P T", "i32"),),
        weights=(Operand("table", "C E"),),
        attributes=(AttributeSpec("offset", "int", required=False, default=0, at_least=0),),
        outputs=(Operand("y", "T E"),),
        tolerance=EXACT,
        cases=encoder_cases.embed_positions,
    ),
    OpSpec(
        "whole_attention",
        "attention within each of the step's rows, both ways; query i sees key j iff |i - j| <= reach",
        inputs=(
            Operand("q", "T H D"),
            Operand("k", "T K D"),
            Operand("v", "T K Dv"),
            ROW_STARTS,
        ),
        attributes=(
            AttributeSpec("scale", "float"),
            AttributeSpec("reach", "int", required=False, nullable=True, at_least=0),
        ),
        outputs=(Operand("y", "T H Dv"),),
        rule=whole_attention_rule,
        tolerance=ACCUMULATED,
        cases=encoder_cases.whole_attention,
    ),
    OpSpec(
        "mean_rows",
        "y[n] = mean of x over the row of the step that token rows[n] is in",
        inputs=(Operand("x", "T E"), ROW_STARTS, Operand("rows", "N", "i32")),
        outputs=(Operand("y", "N E"),),
        tolerance=ACCUMULATED,
        cases=encoder_cases.mean_rows,
    ),
    OpSpec(
        "tanh",
        "y = tanh(x)",
        inputs=(Operand("x", "*"),),
        outputs=(Operand("y", "*"),),
        tolerance=ROUNDED,
        cases=encoder_cases.tanh,
    ),
)
