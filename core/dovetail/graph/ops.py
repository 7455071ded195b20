"""Every op of the model graph, as data. The meaning in numbers is the NumPy reference of the SDK.

Statistics of norms, angles of rope, softmax and sums of attention are in f32 whatever the graph's dtype. `OPS` maps a
name to its OpSpec; a plugin adds ops of its own, named `vendor.name`, with `register`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from types import MappingProxyType

from . import case_data
from .cases import Case
from .encoder_ops import ENCODER_SPECS
from .expert_ops import EXPERT_SPECS
from .mesh_ops import MESH_SPECS
from .spec import (
    Attributes,
    AttributeSpec,
    Axes,
    GraphError,
    Length,
    Lengths,
    Operand,
    OpSpec,
    Shape,
    Step,
)
from .tolerances import ACCUMULATED, EXACT, ROUNDED

ACTIVATIONS = ("silu", "gelu", "gelu_tanh", "relu")


# ------------------------------------------------------------------------------- rules beyond what letters say


def rope_rule(axes: Axes, attributes: Attributes) -> None:
    frequencies = attributes["frequencies"]
    assert isinstance(frequencies, tuple)
    if 2 * len(frequencies) > axes.number("D"):
        raise GraphError(f"{len(frequencies)} frequencies rotate more than D = {axes.number('D')}")


def attention_rule(axes: Axes, attributes: Attributes) -> None:
    kv_heads, width = attributes["kv_heads"], attributes["value_width"]
    assert isinstance(kv_heads, int) and isinstance(width, int)
    grouped_heads(axes.number("H"), kv_heads)
    axes.lengths["Dv"] = width


def attention_write_rule(axes: Axes, attributes: Attributes) -> None:
    grouped_heads(axes.number("H"), axes.number("K"))


def grouped_heads(heads: int, kv_heads: int) -> None:
    if heads % kv_heads:
        raise GraphError(f"{heads} query heads; a multiple of the {kv_heads} key heads is needed")


def split_rule(axes: Axes, attributes: Attributes) -> Sequence[Shape]:
    sizes = attributes["sizes"]
    assert isinstance(sizes, tuple)
    if sum(sizes) != axes.number("W"):
        raise GraphError(f"sizes {sizes} sum to {sum(sizes)}, not to W = {axes.number('W')}")
    return [(*(axes.leading or ()), int(size)) for size in sizes]


def reshape_rule(axes: Axes, attributes: Attributes) -> Sequence[Shape]:
    shape = attributes["shape"]
    assert isinstance(shape, tuple)
    if not axes.leading:
        raise GraphError("x has no axes")
    lead, *rest = axes.leading
    numbers = [length for length in rest if isinstance(length, int)]
    if len(numbers) != len(rest) or prod(numbers) != prod(shape):
        raise GraphError(f"cannot make [{lead}, *{shape}] of {axes.leading}")
    return [(lead, *(int(length) for length in shape))]


# --------------------------------------------------------------------------------------- operands used often

X = Operand("x", "*")
ROWS = Operand("x", "* W")
Q = Operand("q", "T H D")
K = Operand("k", "T K D")
V = Operand("v", "T K Dv")
WRITTEN = Operand("written", "", "cache")
ATTENDED = Operand("y", "T H Dv")
EPS = AttributeSpec("eps", "float", at_least=0.0)
ACTIVATION = AttributeSpec("activation", "str", choices=ACTIVATIONS)
SCALE = AttributeSpec("scale", "float")
WINDOW = AttributeSpec("window", "int", required=False, nullable=True, at_least=1)
SOFT_CAP = AttributeSpec("soft_cap", "float", required=False, nullable=True, at_least=1e-6)

# ------------------------------------------------------------------------------------------------- the ops

SPECS = (
    OpSpec(
        "embed",
        "y[t] = table[ids[t]]",
        inputs=(Operand("ids", "T", "i32"),),
        weights=(Operand("table", "V E"),),
        outputs=(Operand("y", "T E"),),
        tolerance=EXACT,
        cases=case_data.embed,
    ),
    OpSpec(
        "linear",
        "y = x @ weight.T + bias, summed in f32",
        inputs=(Operand("x", "* I"),),
        weights=(Operand("weight", "O I"), Operand("bias", "O", optional=True)),
        outputs=(Operand("y", "* O"),),
        tolerance=ACCUMULATED,
        cases=case_data.linear,
    ),
    OpSpec(
        "rms_norm",
        "y = x / sqrt(mean(x^2) + eps) * weight, over the last axis",
        inputs=(ROWS,),
        weights=(Operand("weight", "W"),),
        attributes=(EPS,),
        outputs=(Operand("y", "* W"),),
        tolerance=ROUNDED,
        cases=case_data.rms_norm,
    ),
    OpSpec(
        "layer_norm",
        "y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias, over the last axis",
        inputs=(ROWS,),
        weights=(Operand("weight", "W"), Operand("bias", "W", optional=True)),
        attributes=(EPS,),
        outputs=(Operand("y", "* W"),),
        tolerance=ROUNDED,
        cases=case_data.layer_norm,
    ),
    OpSpec(
        "rope",
        "rotates pairs of the first 2n of D by positions * frequencies; cos and sin times factor",
        inputs=(Operand("x", "T H D"), Operand("positions", "P T", "i32")),
        attributes=(
            AttributeSpec("frequencies", "floats"),
            AttributeSpec("factor", "float", required=False, default=1.0),
            AttributeSpec("interleaved", "bool", required=False, default=False),
        ),
        outputs=(Operand("y", "T H D"),),
        rule=rope_rule,
        tolerance=ROUNDED,
        cases=case_data.rope,
    ),
    OpSpec(
        "kv_write",
        "puts keys and values of the step's tokens into the layer's blocks",
        inputs=(K, V),
        outputs=(WRITTEN,),
        layered=True,
        tolerance=EXACT,
        cases=case_data.kv_write,
    ),
    OpSpec(
        "attention",
        "causal attention over the row's cached keys; key j is seen by query i iff 0 <= i - j < window",
        inputs=(Q, WRITTEN),
        attributes=(
            SCALE,
            AttributeSpec("kv_heads", "int", at_least=1),
            AttributeSpec("value_width", "int", at_least=1),
            WINDOW,
            SOFT_CAP,
        ),
        outputs=(ATTENDED,),
        layered=True,
        rule=attention_rule,
        tolerance=ACCUMULATED,
        cases=case_data.attention,
    ),
    OpSpec(
        "attention_write",
        "kv_write, then attention",
        inputs=(Q, K, V),
        attributes=(SCALE, WINDOW, SOFT_CAP),
        outputs=(ATTENDED,),
        layered=True,
        rule=attention_write_rule,
        decomposition=(
            Step("kv_write", ("k", "v"), ("written",)),
            Step(
                "attention",
                ("q", "written"),
                ("y",),
                attributes={
                    "scale": "scale",
                    "kv_heads": Length("K"),
                    "value_width": Length("Dv"),
                    "window": "window",
                    "soft_cap": "soft_cap",
                },
            ),
        ),
        tolerance=ACCUMULATED,
        cases=case_data.attention_write,
    ),
    OpSpec(
        "gated_activation",
        "y = activation(gate) * up",
        inputs=(Operand("gate", "* F"), Operand("up", "* F")),
        attributes=(ACTIVATION,),
        outputs=(Operand("y", "* F"),),
        decomposition=(
            Step("activation", ("gate",), ("active",), attributes={"activation": "activation"}),
            Step("mul", ("active", "up"), ("y",)),
        ),
        tolerance=ROUNDED,
        cases=case_data.gated_activation,
    ),
    OpSpec(
        "split_gated_activation",
        "gate, up = halves of x; y = activation(gate) * up",
        inputs=(Operand("x", "* 2F"),),
        attributes=(ACTIVATION,),
        outputs=(Operand("y", "* F"),),
        decomposition=(
            Step("split", ("x",), ("gate", "up"), attributes={"sizes": Lengths(("F", "F"))}),
            Step(
                "gated_activation", ("gate", "up"), ("y",), attributes={"activation": "activation"}
            ),
        ),
        tolerance=ROUNDED,
        cases=case_data.split_gated_activation,
    ),
    OpSpec(
        "activation",
        "silu x*sigmoid(x); gelu by erf; gelu_tanh by tanh; relu",
        inputs=(X,),
        attributes=(ACTIVATION,),
        outputs=(Operand("y", "*"),),
        tolerance=ROUNDED,
        cases=case_data.activation,
    ),
    OpSpec(
        "add",
        "y = a + b",
        inputs=(Operand("a", "*"), Operand("b", "*")),
        outputs=(Operand("y", "*"),),
        tolerance=ROUNDED,
        cases=case_data.add,
    ),
    OpSpec(
        "mul",
        "y = a * b",
        inputs=(Operand("a", "*"), Operand("b", "*")),
        outputs=(Operand("y", "*"),),
        tolerance=ROUNDED,
        cases=case_data.mul,
    ),
    OpSpec(
        "scale",
        "y = x * factor",
        inputs=(X,),
        attributes=(AttributeSpec("factor", "float"),),
        outputs=(Operand("y", "*"),),
        tolerance=ROUNDED,
        cases=case_data.scale,
    ),
    OpSpec(
        "soft_cap",
        "y = cap * tanh(x / cap)",
        inputs=(X,),
        attributes=(AttributeSpec("cap", "float", at_least=1e-6),),
        outputs=(Operand("y", "*"),),
        tolerance=ROUNDED,
        cases=case_data.soft_cap,
    ),
    OpSpec(
        "split",
        "consecutive pieces of the last axis, one output per size",
        inputs=(ROWS,),
        attributes=(AttributeSpec("sizes", "ints", at_least=1),),
        outputs=(Operand("part", "* W"),),
        rule=split_rule,
        tolerance=EXACT,
        cases=case_data.split,
    ),
    OpSpec(
        "reshape",
        "the axes after the first become `shape`",
        inputs=(X,),
        attributes=(AttributeSpec("shape", "ints", at_least=1),),
        outputs=(Operand("y", "*"),),
        rule=reshape_rule,
        tolerance=EXACT,
        cases=case_data.reshape,
    ),
    OpSpec(
        "take_rows",
        "y[n] = x[rows[n]]",
        inputs=(Operand("x", "T E"), Operand("rows", "N", "i32")),
        outputs=(Operand("y", "N E"),),
        tolerance=EXACT,
        cases=case_data.take_rows,
    ),
    OpSpec(
        "add_rms_norm",
        "sum = x + residual; y = rms_norm(sum)",
        inputs=(ROWS, Operand("residual", "* W")),
        weights=(Operand("weight", "W"),),
        attributes=(EPS,),
        outputs=(Operand("y", "* W"), Operand("sum", "* W")),
        decomposition=(
            Step("add", ("x", "residual"), ("sum",)),
            Step("rms_norm", ("sum",), ("y",), {"weight": "weight"}, {"eps": "eps"}),
        ),
        tolerance=ROUNDED,
        cases=case_data.add_rms_norm,
    ),
)

_ops: dict[str, OpSpec] = {
    spec.name: spec for spec in (*SPECS, *ENCODER_SPECS, *EXPERT_SPECS, *MESH_SPECS)
}

OPS: Mapping[str, OpSpec] = MappingProxyType(_ops)
"""Every op by name."""


def register(spec: OpSpec) -> None:
    """Add a plugin's own op, named `vendor.name`; needs a decomposition, so that it is wanted and never needed."""
    if "." not in spec.name or not spec.decomposition:
        raise GraphError(
            f"op {spec.name}: a plugin's op is named vendor.name and has a decomposition"
        )
    if _ops.setdefault(spec.name, spec) != spec:
        raise GraphError(f"op {spec.name} is already defined, differently")


def cases(op: str) -> Iterator[Case]:
    """Conformance cases of an op, always the same ones in the same order; KeyError for an unknown op."""
    return iter(OPS[op].cases())
