"""Passes rewrite for a device and keep the meaning of a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from dovetail.errors import UnsupportedOp
from dovetail.graph import (
    INT8,
    OPS,
    CacheGroup,
    Graph,
    GraphBuilder,
    Value,
    dump,
    passes,
    register,
    verify,
    with_forms,
)
from dovetail.platform import Support

Model = Callable[..., Graph]
Device = Callable[..., Any]

EVERY = {name: spec.revision for name, spec in OPS.items()}
SIMPLE = {name: spec.revision for name, spec in OPS.items() if not spec.decomposition}
FUSED = ("attention_write", "split_gated_activation", "add_rms_norm")
REWRITES = ("merge_qkv", "merge_gate_up")


def counts(graph: Graph) -> Counter[str]:
    return Counter(node.op for node in graph.nodes)


# ------------------------------------------------------------------------------------------------- fusion


@pytest.mark.parametrize(
    "architecture", ["LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"]
)
def test_fused_graphs_come_apart_into_what_they_were(
    model: Model, device: Device, architecture: str
) -> None:
    graph = model(architecture)
    fused = passes.fuse(graph, FUSED, device())
    verify(fused)
    assert counts(fused)["attention_write"] == 2
    assert counts(fused)["add_rms_norm"] == 3  # not the last sum: rows are taken of it first
    again = passes.decompose(fused, {node.name for node in fused.nodes if node.op in FUSED})
    verify(again)
    assert dump(again, names=False) == dump(graph, names=False)


def test_a_fused_node_shows_the_inner_value_that_others_use(model: Model, device: Device) -> None:
    fused = passes.fuse(model(), ["add_rms_norm"], device())
    node = next(node for node in fused.nodes if node.name == "layers.0.mlp_norm")
    assert node.outputs == ("layers.0.mlp_norm", "layers.0.attention_residual")
    assert list(fused.uses("layers.0.attention_residual"))


def test_only_what_the_device_supports_is_fused(model: Model, device: Device) -> None:
    fused = passes.fuse(model(), FUSED, device(nodes={"layers.1.attention"}))
    assert counts(fused)["attention_write"] == counts(fused)["attention"] == 1
    assert counts(passes.fuse(model(), FUSED, device(ops=FUSED))) == counts(model())


def test_fusion_takes_the_wanted_ops_in_order(device: Device, builder: GraphBuilder) -> None:
    x = builder.input("x", ("T", 8), "f32")
    gate, up = builder.op_many("split", x, sizes=(4, 4))
    active = builder.op("activation", gate, activation="silu")
    builder.output("hidden", builder.op("mul", active, up))
    graph = builder.build()
    one = passes.fuse(graph, ["split_gated_activation"], device())
    assert one == graph  # its pattern has gated_activation in it
    both = passes.fuse(graph, ["gated_activation", "split_gated_activation"], device())
    assert [node.op for node in both.nodes] == ["split_gated_activation"]


def test_a_hidden_value_that_is_used_elsewhere_keeps_its_nodes(
    device: Device, builder: GraphBuilder
) -> None:
    x = builder.input("x", ("T", 8), "f32")
    gate, up = builder.op_many("split", x, sizes=(4, 4))
    y = builder.op("gated_activation", gate, up, activation="silu")
    builder.output("hidden", builder.op("add", y, up))
    graph = builder.build()
    assert passes.fuse(graph, ["split_gated_activation"], device()) == graph


def test_a_hidden_value_that_leaves_the_graph_keeps_its_nodes(
    device: Device, builder: GraphBuilder
) -> None:
    x = builder.input("x", ("T", 8), "f32")
    gate, up = builder.op_many("split", x, sizes=(4, 4))
    builder.output("hidden", builder.op("gated_activation", gate, up, activation="silu"))
    builder.output("gate", gate)
    graph = builder.build()
    assert passes.fuse(graph, ["split_gated_activation"], device()) == graph


def test_a_shown_value_that_is_used_too_early_keeps_its_nodes(
    device: Device, builder: GraphBuilder
) -> None:
    x = builder.input("x", ("T", 8), "f32")
    weight = builder.weight("norm", (8,))
    total = builder.op("add", x, x)
    early = builder.op("scale", total, factor=2.0)
    norm = builder.op("rms_norm", total, weights={"weight": weight}, eps=1e-6)
    builder.output("hidden", builder.op("add", early, norm))
    graph = builder.build()
    assert passes.fuse(graph, ["add_rms_norm"], device()) == graph


def test_unequal_halves_are_not_fused(device: Device, builder: GraphBuilder) -> None:
    x = builder.input("x", ("T", 12), "f32")
    gate, up, _ = builder.op_many("split", x, sizes=(4, 4, 4))
    builder.output("hidden", builder.op("gated_activation", gate, up, activation="silu"))
    graph = builder.build()
    assert passes.fuse(graph, ["split_gated_activation"], device()) == graph


def test_swapped_halves_are_not_fused(device: Device, builder: GraphBuilder) -> None:
    x = builder.input("x", ("T", 8), "f32")
    up, gate = builder.op_many("split", x, sizes=(4, 4))
    builder.output("hidden", builder.op("gated_activation", gate, up, activation="silu"))
    graph = builder.build()
    assert passes.fuse(graph, ["split_gated_activation"], device()) == graph


@pytest.mark.usefixtures("own_ops")
def test_a_plugins_own_op_is_fused_too(model: Model, device: Device) -> None:
    register(replace(OPS["gated_activation"], name="test.gate"))
    fused = passes.fuse(model(), ["test.gate", "other.unknown"], device())
    assert counts(fused)["test.gate"] == 0  # the graph has it whole: nothing to match
    lowered = passes.decompose(
        model(), {node.name for node in model().nodes if node.op == "gated_activation"}
    )
    assert counts(passes.fuse(lowered, ["test.gate"], device()))["test.gate"] == 2


# --------------------------------------------------------------------------------------------------- merge


@pytest.mark.parametrize("fused", [(), FUSED])
def test_linears_on_one_input_become_one(
    model: Model, device: Device, fused: tuple[str, ...]
) -> None:
    graph = passes.fuse(model("Qwen2ForCausalLM"), fused, device())
    merged = passes.merge_linears(graph, qkv=True, gate_up=True)
    verify(merged)
    weight = merged.weights["model.layers.0.self_attn.qkv_proj.weight"]
    prefix = "model.layers.0.self_attn"
    assert weight.shape == (64 + 32 + 32, 32)
    assert weight.parts == tuple(f"{prefix}.{part}_proj.weight" for part in "qkv")
    bias = merged.weights[f"{prefix}.qkv_proj.bias"]
    assert (bias.shape, bias.parts) == (
        (128,),
        tuple(f"{prefix}.{part}_proj.bias" for part in "qkv"),
    )
    gate_up = merged.weights["model.layers.1.mlp.gate_up_proj.weight"]
    assert gate_up.parts == tuple(
        f"model.layers.1.mlp.{part}_proj.weight" for part in ("gate", "up")
    )
    assert counts(merged)["linear"] == counts(graph)["linear"] - 2 * 3
    split = next(node for node in merged.nodes if node.name == "layers.0.qkv_proj.split")
    assert split.outputs == ("layers.0.q_proj", "layers.0.k_proj", "layers.0.v_proj")
    assert not any(name.endswith(".k_proj.weight") for name in merged.weights)


def test_only_the_wanted_linears_are_merged(model: Model) -> None:
    graph = model()
    assert passes.merge_linears(graph, qkv=False, gate_up=False) == graph
    assert counts(passes.merge_linears(graph, qkv=True, gate_up=False))["split"] == 2


def test_forms_that_differ_keep_their_linears(model: Model) -> None:
    graph = with_forms(model(), {"model.layers.0.self_attn.k_proj.weight": INT8})
    merged = passes.merge_linears(graph, qkv=True, gate_up=False)
    verify(merged)
    assert counts(merged)["split"] == 1
    assert "model.layers.1.self_attn.qkv_proj.weight" in merged.weights


def three_linears(
    builder: GraphBuilder, values: tuple[Value, ...], tied: bool, bias: bool
) -> Graph:
    """Attention whose k has a bias or shares the weight of v."""
    x = builder.op("reshape", values[0], shape=(32,), name="x")
    projected = []
    for role, heads in (("q", 4), ("k", 2), ("v", 2)):
        name = "a.v.weight" if tied and role == "k" else f"a.{role}.weight"
        weights = {"weight": builder.weight(name, (heads * 8, 32))}
        if bias and role == "k":
            weights["bias"] = builder.weight("a.k.bias", (heads * 8,))
        y = builder.op("linear", x, weights=weights, name=f"{role}_out")
        projected.append(builder.op("reshape", y, shape=(heads, 8), name=f"{role}_heads"))
    y = builder.op("attention_write", *projected, layer=0, scale=1.0)
    builder.output("hidden", builder.op("reshape", y, shape=(32,)))
    return builder.build()


@pytest.mark.parametrize(("tied", "bias"), [(True, False), (False, True)])
def test_weights_that_cannot_be_one_keep_their_linears(tied: bool, bias: bool) -> None:
    builder = GraphBuilder("test", "f32")
    builder.cache_group(CacheGroup("all", (0,), 2, 8, 8))
    table = builder.weight("table", (11, 32))
    rows = builder.op("embed", builder.input("tokens", ("T",)), weights={"table": table})
    graph = three_linears(builder, (rows,), tied, bias)
    assert passes.merge_linears(graph, qkv=True, gate_up=True) == graph


def test_merged_linears_are_fused_with_what_follows(model: Model, device: Device) -> None:
    prepared = passes.prepare(
        model(), ops=EVERY, fused=FUSED, rewrites=REWRITES, supports=device(), check=True
    )
    found = counts(prepared.graph)
    assert found["split_gated_activation"] == 2 and found["gated_activation"] == 0


# ------------------------------------------------------------------------------------------------ lowering


def test_lowering_replaces_what_the_device_lacks(model: Model, device: Device) -> None:
    fused = passes.fuse(model(), FUSED, device())
    prepared = passes.prepare(fused, ops=SIMPLE, supports=device(), check=True)
    found = counts(prepared.graph)
    assert not {name for name in found if OPS[name].decomposition}
    assert found["activation"] == found["mul"] == 2
    assert [answer.node for answer in prepared.supports] == [
        node.name for node in prepared.graph.nodes
    ]


def test_lowering_goes_by_node_where_the_device_does(model: Model) -> None:
    def supports(graph: Graph) -> list[Support]:
        refused = {"layers.1.gated_activation": "gated_activation"}
        return [
            Support(node.name, None if refused.get(node.name) == node.op else "plain")
            for node in graph.nodes
        ]

    prepared = passes.prepare(model(), ops=EVERY, supports=supports, check=True)
    found = counts(prepared.graph)
    assert found["gated_activation"] == found["activation"] == found["mul"] == 1


def test_gaps_are_listed_all_at_once(model: Model, device: Device) -> None:
    ops = {name: revision for name, revision in EVERY.items() if name != "rope"}
    with pytest.raises(UnsupportedOp) as caught:
        passes.prepare(model(), ops=ops, supports=device(ops={"rms_norm"}))
    text = str(caught.value)
    assert (
        "rope: needs revision 1, the device understands none (layers.0.q_rope and 3 more)" in text
    )
    assert "rms_norm: not here (layers.0.attention_norm and 4 more)" in text


def test_an_older_revision_is_a_gap(model: Model, device: Device) -> None:
    with pytest.raises(UnsupportedOp, match="embed: needs revision 1, the device understands none"):
        passes.prepare(model(), ops={**EVERY, "embed": 0}, supports=device())


def test_an_op_that_the_device_does_not_understand_is_not_fused_into(
    model: Model, device: Device
) -> None:
    prepared = passes.prepare(
        model(), ops={**SIMPLE, "gated_activation": 1}, fused=FUSED, supports=device()
    )
    assert not set(counts(prepared.graph)) & set(FUSED)
