"""The builder names things, shares weights and refuses mistakes."""

from __future__ import annotations

import pytest
from dovetail.graph import INT8, GraphBuilder, GraphError, with_forms


def lookup(builder: GraphBuilder) -> None:
    tokens = builder.input("tokens", ("T",))
    table = builder.weight("table", (9, 4))
    with builder.scope("first"):
        x = builder.op("embed", tokens, weights={"table": table})
    y = builder.op("embed", tokens, weights={"table": builder.weight("table", (9, 4))})
    builder.output("hidden", builder.op("add", x, y, name="first.embed"))


def test_names_are_below_their_scope_and_unique(builder: GraphBuilder) -> None:
    lookup(builder)
    graph = builder.build()
    assert [node.name for node in graph.nodes] == ["first.embed", "embed", "first.embed_2"]
    assert graph.outputs == {"hidden": "first.embed_2"}
    assert list(graph.weights) == ["table"]
    assert [node.name for node in graph.uses("first.embed")] == ["first.embed_2"]


def test_several_outputs_are_named_after_their_operands(builder: GraphBuilder) -> None:
    x = builder.input("x", ("T", 4), "f32")
    weight = builder.weight("norm", (4,))
    y, total = builder.op_many("add_rms_norm", x, x, weights={"weight": weight}, eps=1e-6)
    assert (y.name, total.name) == ("add_rms_norm.y", "add_rms_norm.sum")
    parts = builder.op_many("split", y, sizes=(1, 3))
    assert [part.name for part in parts] == ["split.part0", "split.part1"]
    with pytest.raises(GraphError, match="use op_many"):
        builder.op("split", y, sizes=(1, 3))


def test_a_weight_of_two_shapes_is_refused(builder: GraphBuilder) -> None:
    builder.weight("table", (9, 4))
    with pytest.raises(GraphError, match="table"):
        builder.weight("table", (4, 9))


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(GraphError, match="expected one of f32"):
        GraphBuilder("test", "f64")


def test_a_value_is_named_once(builder: GraphBuilder) -> None:
    builder.input("x", ("T",))
    with pytest.raises(GraphError, match="exists already"):
        builder.input("x", ("T",))


def test_with_forms_changes_the_named_weights_alone(builder: GraphBuilder) -> None:
    lookup(builder)
    graph = builder.build()
    changed = with_forms(graph, {"table": INT8})
    assert changed.weights["table"].form == INT8
    assert str(graph.weights["table"].form) == "f32"
    with pytest.raises(KeyError):
        with_forms(graph, {"tabel": INT8})
