"""Ops that only some decoders have: mixtures of experts, and attention with sinks. Optional, like every op.

The weights of all experts are one matrix, expert after expert, so that they are read, quantised and divided as every
other matrix is.
"""

from __future__ import annotations

from collections.abc import Iterator

from .case_data import ONE, RAGGED, Steps
from .cases import Case
from .graph import COMPUTE_DTYPES, Attribute
from .spec import Attributes, AttributeSpec, Axes, GraphError, Operand, OpSpec
from .tolerances import ACCUMULATED

MIXED: Steps = ((5, 1, 33), (1, 1, 1), (0, 7, 1))


def mixture_rule(axes: Axes, attributes: Attributes) -> None:
    experts, width, inner = (axes.number(letter) for letter in ("X", "E", "F"))
    for letter, rows in (("Xu", 2 * experts * inner), ("Xd", experts * width)):
        if axes.number(letter) != rows:
            raise GraphError(f"the experts have {axes.number(letter)} rows; {rows} are needed")
    k = attributes["k"]
    assert isinstance(k, int)
    if k > experts:
        raise GraphError(f"{k} of {experts} experts are wanted")


def sink_attention_rule(axes: Axes, attributes: Attributes) -> None:
    kv_heads, width = attributes["kv_heads"], attributes["value_width"]
    assert isinstance(kv_heads, int) and isinstance(width, int)
    if axes.number("H") % kv_heads:
        raise GraphError(
            f"{axes.number('H')} query heads; a multiple of the {kv_heads} key heads is needed"
        )
    axes.lengths["Dv"] = width


def mixture_cases() -> Iterator[Case]:
    def case(
        name: str,
        dtype: str = "f32",
        sizes: tuple[int, int, int] = (5, 64, 32),
        steps: Steps = RAGGED,
        **given: Attribute,
    ) -> Case:
        experts, width, inner = sizes
        axes = {"X": experts, "E": width, "F": inner}
        axes |= {"Xu": 2 * experts * inner, "Xd": experts * width}
        attributes: dict[str, Attribute] = {"k": 2, "normalised": True, "activation": "silu"}
        return Case(
            op="mixture",
            name=name,
            dtype=dtype,
            axes=axes,
            attributes=attributes | given,
            steps=steps,
        )

    for dtype in COMPUTE_DTYPES:
        yield case("two_of_five", dtype)
        yield case("in_blocks", dtype, sizes=(4, 128, 128))
    yield case("one_token", steps=ONE)
    yield case("one_expert", sizes=(1, 64, 32), k=1)
    yield case("all_experts", sizes=(3, 64, 32), k=3)
    yield case("of_all", k=3, normalised=False)
    yield case("gelu", activation="gelu_tanh")
    yield case("odd", sizes=(7, 33, 9))
    yield case("many_rows", steps=((70, 1, 3), (1, 1, 1)))


def sink_attention_cases() -> Iterator[Case]:
    def case(
        name: str,
        dtype: str = "f32",
        heads: tuple[int, int] = (4, 4),
        steps: Steps = MIXED,
        **extra: Attribute,
    ) -> Case:
        attributes: dict[str, Attribute] = {"scale": 0.2, "kv_heads": heads[1], "value_width": 32}
        return Case(
            op="sink_attention",
            name=name,
            dtype=dtype,
            axes={"H": heads[0], "K": heads[1], "D": 32, "Dv": 32},
            attributes=attributes | extra,
            steps=steps,
        )

    for dtype in COMPUTE_DTYPES:
        yield case("whole", dtype)
        yield case("grouped", dtype, heads=(6, 2))
        yield case("window", dtype, window=4)
    yield case("long", steps=((130,), (1,)))
    yield case("soft_cap", soft_cap=3.0)


EXPERT_SPECS = (
    OpSpec(
        "mixture",
        "the k largest logits choose experts; y sums their shares times down(activation(gate x) * up x)",
        inputs=(Operand("x", "T E"), Operand("logits", "T X")),
        weights=(Operand("gate_up", "Xu E"), Operand("down", "Xd F")),
        attributes=(
            AttributeSpec("k", "int", at_least=1),
            AttributeSpec("normalised", "bool"),
            AttributeSpec("activation", "str", choices=("silu", "gelu", "gelu_tanh", "relu")),
        ),
        outputs=(Operand("y", "T E"),),
        rule=mixture_rule,
        tolerance=ACCUMULATED,
        cases=mixture_cases,
    ),
    OpSpec(
        "sink_attention",
        "attention whose softmax has one more logit per head, which takes its weight without a value",
        inputs=(Operand("q", "T H D"), Operand("written", "", "cache")),
        weights=(Operand("sinks", "H"),),
        attributes=(
            AttributeSpec("scale", "float"),
            AttributeSpec("kv_heads", "int", at_least=1),
            AttributeSpec("value_width", "int", at_least=1),
            AttributeSpec("window", "int", required=False, nullable=True, at_least=1),
            AttributeSpec("soft_cap", "float", required=False, nullable=True, at_least=1e-6),
        ),
        outputs=(Operand("y", "T H Dv"),),
        layered=True,
        rule=sink_attention_rule,
        tolerance=ACCUMULATED,
        cases=sink_attention_cases,
    ),
)
"""Sources: Shazeer et al. 2017 and Jiang et al. 2024 (Mixtral), section 2.1; Xiao et al. 2023, section 3."""
