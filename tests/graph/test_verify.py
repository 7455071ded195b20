"""verify finds what is wrong, and all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from dovetail.graph import (
    INT4,
    INT8,
    CacheGroup,
    Graph,
    GraphError,
    Value,
    WeightForm,
    verify,
    with_forms,
)

Model = Callable[..., Graph]


def changed(graph: Graph, name: str, changes: dict[str, Any]) -> Graph:
    """The graph with one node changed."""
    nodes = tuple(replace(node, **changes) if node.name == name else node for node in graph.nodes)
    return replace(graph, nodes=nodes)


def test_graphs_of_models_hold(model: Model) -> None:
    for name in ("Llama", "Mistral", "Qwen2", "Qwen3"):
        verify(model(f"{name}ForCausalLM"))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("layers.0.q", {"op": "fold"}, "layers.0.q: unknown op fold"),
        ("layers.0.q", {"inputs": ("nothing",)}, "nothing is not made before it is used"),
        ("layers.0.q", {"inputs": ("layers.1.q_proj",)}, "layers.1.q_proj is not made before"),
        ("layers.0.q", {"inputs": ()}, "0 inputs; reshape takes 1"),
        ("layers.0.q", {"outputs": ("layers.0.k",)}, "layers.0.k is made twice"),
        ("layers.0.q", {"outputs": ()}, "0 outputs; expected 1"),
        ("layers.0.q", {"attributes": {"shape": (8, 8)}}, r"expected f32 \('T', 8, 8\)"),
        ("layers.0.q", {"attributes": {}}, "attribute shape is missing"),
        ("layers.0.q", {"layer": 0}, "reshape has none"),
        ("layers.0.q", {"name": "layers.0.k"}, "2 nodes are called layers.0.k"),
        ("layers.0.q_proj", {"weights": {}}, "weight weight is missing"),
        ("layers.0.q_proj", {"weights": {"weight": "gone"}}, "gone is not made"),
        ("layers.0.q_proj", {"weights": {}}, "q_proj.weight is used by no node"),
        ("layers.0.kv_write", {"layer": None}, "kv_write needs one"),
        ("layers.0.kv_write", {"layer": 1}, "cache layer 1 is written 2 times"),
        ("layers.0.kv_write", {"layer": 7}, "layer 7 is in 0 cache groups"),
        ("layers.0.attention", {"layer": 1}, "reads layer 1 after a write of layer 0"),
        ("layers.0.attention", {"inputs": ("layers.0.q_rope", "layers.1.kv_write")}, "not made"),
        ("layers.0.q_rope", {"attributes": {"frequencies": (1.0,)}}, "attributes lack defaults"),
    ],
)
def test_faults_of_a_node_are_found(
    model: Model, name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        verify(changed(model(), name, changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "f64"}, "dtype is 'f64'"),
        ({"outputs": {}}, "there is no output"),
        ({"outputs": {"logits": "gone"}}, "gone, which nothing makes"),
        ({"inputs": ("tokens", "positions", "outputs", "more")}, "input more has no value"),
        ({"cache": ()}, "layer 0 is in 0 cache groups"),
        ({"cache": (CacheGroup("a", (0, 1), 4, 16, 16),)}, "kv_heads is 2; cache group a has 4"),
        ({"cache": (CacheGroup("a", (0, 1), 2, 8, 16),)}, "key_width is 16"),
        ({"cache": (CacheGroup("a", (0, 1), 2, 16, 16, 5),)}, "window is None"),
        ({"cache": (CacheGroup("a", (0, 1), 2, 16, 16, 0),)}, "malformed"),
        ({"cache": (CacheGroup("a", (0, 1, 2), 2, 16, 16),)}, "cache layer 2 is written 0 times"),
        ({"cache": (CacheGroup("a", (0, 1, 0), 2, 16, 16),)}, "cache layer 0 is in 2 groups"),
    ],
)
def test_faults_of_the_whole_are_found(model: Model, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        verify(replace(model(), **changes))


@pytest.mark.parametrize(
    ("weight", "form", "message"),
    [
        ("model.norm.weight", INT8, "only matrices can"),
        ("lm_head.weight", INT4, "groups of 128"),
        ("lm_head.weight", WeightForm("dense", "f8"), "dense in 'f8'"),
    ],
)
def test_forms_that_do_not_fit_their_weight_are_found(
    model: Model, weight: str, form: WeightForm, message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        verify(with_forms(model(), {weight: form}))


def test_a_value_that_nothing_makes_is_found(model: Model) -> None:
    graph = model()
    values = {**graph.values, "spare": Value("spare", ("T",), "f32")}
    with pytest.raises(GraphError, match="value spare is made by nothing"):
        verify(replace(graph, values=values))


def test_all_faults_are_listed_at_once(model: Model) -> None:
    graph = changed(model(), "layers.0.q", {"op": "fold"})
    graph = changed(graph, "layers.1.q_proj", {"weights": {}})
    with pytest.raises(GraphError) as caught:
        verify(graph)
    assert "unknown op fold" in str(caught.value)
    assert "weight weight is missing" in str(caught.value)
