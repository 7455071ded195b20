"""Layers that are alike are found in every model of the catalogue, and what is not alike is left alone."""

import pytest
from dovetail import models
from dovetail.graph import GraphBuilder
from dovetail_sdk.testing import FAMILIES, TINY
from dovetail_sdk.testing.checkpoints import MODEL_TYPES
from dovetail_tpu.layers import find_run


def built(options, layers):
    config = {**TINY, **options, "num_hidden_layers": layers}
    if "layer_types" in config:
        config["layer_types"] = (config["layer_types"] * layers)[:layers]
    config["model_type"] = MODEL_TYPES[config["architectures"][0]]
    return models.build(config, dtype="f32")


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_is_a_loop(family):
    graph = built(FAMILIES[family], 12)
    run = find_run(graph)
    assert run is not None
    outside = len(graph.nodes) - run.period * run.repeats
    assert run.repeats > 1 and outside < len(graph.nodes) / 2, (run.repeats, run.period, outside)
    inside = {name for names in run.weights.values() for name in names}
    used = [name for node in graph.nodes[run.start : run.end] for name in node.weights.values()]
    assert sorted(inside) == sorted(used)


def test_what_does_not_repeat_is_no_loop():
    on = GraphBuilder("once", "f32")
    tokens = on.input("tokens", ("T",))
    table = on.weight("table", (8, 4))
    x = on.op("embed", tokens, weights={"table": table})
    on.output("hidden", on.op("add", x, x))
    assert find_run(on.build()) is None
