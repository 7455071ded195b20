"""Shapes and types follow from the definitions of the ops."""

from __future__ import annotations

import pytest
from dovetail.graph import OPS, GraphBuilder, GraphError, Value, register
from dovetail.graph.spec import AttributeSpec, OpSpec, Step


def value(*shape: int | str, dtype: str = "f32") -> Value:
    return Value("", shape, dtype)


@pytest.fixture
def build() -> GraphBuilder:
    return GraphBuilder("test", "f32")


def test_linear_keeps_leading_axes_and_changes_the_last(build: GraphBuilder) -> None:
    weight = build.weight("w", (5, 7))
    assert build.op("linear", value("T", 7), weights={"weight": weight}).shape == ("T", 5)
    assert build.op("linear", value("T", 3, 7), weights={"weight": weight}).shape == ("T", 3, 5)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "shapes"),
    [
        (
            "rope",
            (value("T", 2, 8), value(1, "T", dtype="i32")),
            {"frequencies": (1.0,)},
            [("T", 2, 8)],
        ),
        ("split", (value("T", 9),), {"sizes": [4, 5]}, [("T", 4), ("T", 5)]),
        ("reshape", (value("T", 4, 6),), {"shape": (24,)}, [("T", 24)]),
        ("take_rows", (value("T", 6), value("N", dtype="i32")), {}, [("N", 6)]),
        ("split_gated_activation", (value("T", 10),), {"activation": "silu"}, [("T", 5)]),
        ("soft_cap", (value("T", 3, 2),), {"cap": 30}, [("T", 3, 2)]),
        ("add", (value("T", 6), value("T", 6)), {}, [("T", 6)]),
    ],
)
def test_output_shapes_follow_from_inputs(
    build: GraphBuilder,
    op: str,
    inputs: tuple[Value, ...],
    attributes: dict[str, object],
    shapes: list[object],
) -> None:
    made = build.op_many(op, *inputs, **attributes)  # type: ignore[arg-type]
    assert [output.shape for output in made] == shapes
    assert {output.dtype for output in made} == {"f32"}


def test_kv_write_makes_an_order_and_no_numbers(build: GraphBuilder) -> None:
    written = build.op("kv_write", value("T", 2, 8), value("T", 2, 6), layer=0)
    assert (written.shape, written.dtype) == ((), "cache")
    y = build.op(
        "attention", value("T", 4, 8), written, layer=0, scale=1, kv_heads=2, value_width=6
    )
    assert y.shape == ("T", 4, 6)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "message"),
    [
        ("add", (value("T", 6), value("T", 7)), {}, "leading axes"),
        ("add", (value("T", 6),), {}, "1 inputs; add takes 2"),
        ("add", (value("T", 6), value("T", 6, dtype="bf16")), {}, "dtype bf16; expected f32"),
        ("reshape", (value("T", 6),), {"shape": (4,)}, "cannot make"),
        ("reshape", (value("T", 6),), {"shape": (0, 6)}, "at least 1"),
        ("split", (value("T", 6),), {"sizes": (4, 4)}, "sum to 8"),
        ("split", (value("T", 6),), {"sizes": "6"}, "expected ints"),
        ("split", (value("T", "N"),), {"sizes": (6,)}, "a number is needed"),
        ("split_gated_activation", (value("T", 7),), {"activation": "silu"}, "2 must divide it"),
        ("activation", (value("T", 6),), {"activation": "selu"}, "one of silu"),
        ("activation", (value("T", 6),), {}, "activation is missing"),
        ("scale", (value("T", 6),), {"factor": float("nan")}, "expected float"),
        ("scale", (value("T", 6),), {"factor": True}, "expected float"),
        ("scale", (value("T", 6),), {"factor": 1.0, "by": 2}, "unknown attributes by"),
        ("rms_norm", (value("T", 6),), {"eps": 1e-6}, "weight weight is missing"),
        (
            "rope",
            (value("T", 2, 4), value(1, "T", dtype="i32")),
            {"frequencies": (1.0,) * 3},
            "rotate more",
        ),
        ("rope", (value("T", 2, 4), value(1, "N", dtype="i32")), {"frequencies": (1.0,)}, "T = N"),
        ("matmul", (), {}, "unknown op"),
    ],
)
def test_operands_that_do_not_fit_are_refused(
    build: GraphBuilder,
    op: str,
    inputs: tuple[Value, ...],
    attributes: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(GraphError, match=message):
        build.op(op, *inputs, **attributes)  # type: ignore[arg-type]


def test_query_heads_must_be_a_multiple_of_key_heads(build: GraphBuilder) -> None:
    written = build.op("kv_write", value("T", 3, 8), value("T", 3, 8), layer=0)
    with pytest.raises(GraphError, match="4 query heads"):
        build.op(
            "attention", value("T", 4, 8), written, layer=0, scale=1.0, kv_heads=3, value_width=8
        )


def test_attributes_get_defaults_and_one_form() -> None:
    normal = OPS["rope"].normal_attributes({"frequencies": (1, 0.5)})
    assert dict(normal) == {"frequencies": (1.0, 0.5), "factor": 1.0, "interleaved": False}
    assert all(isinstance(number, float) for number in normal["frequencies"])  # type: ignore[union-attr]


@pytest.mark.parametrize("spec", OPS.values(), ids=OPS.keys())
def test_a_definition_is_whole(spec: OpSpec) -> None:
    assert spec.revision >= 1 and spec.summary and set(spec.tolerance) == {"f32", "bf16", "f16"}
    made = {operand.name for operand in spec.inputs}
    for step in spec.decomposition:
        assert step.op in OPS
        assert made.issuperset(step.inputs)
        made.update(step.outputs)
    if spec.decomposition:
        assert made.issuperset(operand.name for operand in spec.outputs)
        assert [operand.name for operand in spec.outputs][0] in spec.decomposition[-1].outputs


def vendor_op(name: str, **changes: object) -> OpSpec:
    mlp = OPS["split_gated_activation"]
    fields: dict[str, object] = {
        "name": name,
        "summary": "silu, gated",
        "inputs": mlp.inputs,
        "outputs": mlp.outputs,
        "tolerance": mlp.tolerance,
        "cases": tuple,
        "attributes": (AttributeSpec("activation", "str", choices=("silu",)),),
        "decomposition": mlp.decomposition,
        **changes,
    }
    return OpSpec(**fields)  # type: ignore[arg-type]


@pytest.mark.usefixtures("own_ops")
def test_a_plugin_registers_ops_of_its_own() -> None:
    spec = vendor_op("test.silu_gate")
    register(spec)
    register(spec)
    assert OPS["test.silu_gate"] is spec
    with pytest.raises(GraphError, match="already defined"):
        register(vendor_op("test.silu_gate", decomposition=(Step("scale", ("x",), ("y",)),)))


@pytest.mark.parametrize(("name", "steps"), [("plain", None), ("test.alone", ())])
def test_a_plugins_op_needs_its_vendors_name_and_a_decomposition(
    name: str, steps: tuple[Step, ...] | None
) -> None:
    with pytest.raises(GraphError, match="vendor.name"):
        register(vendor_op(name) if steps is None else vendor_op(name, decomposition=steps))
