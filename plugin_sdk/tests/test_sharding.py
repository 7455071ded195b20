"""A graph that is divided over a mesh computes what it computed whole: members on threads, in NumPy."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from dovetail import models
from dovetail.errors import ConfigError
from dovetail.graph import (
    FP8,
    INT4,
    INT8,
    CacheGroup,
    GraphBuilder,
    WeightForm,
    dump,
    passes,
    verify,
    with_forms,
)
from dovetail.models.heads import Head
from dovetail.platform import Batch, KVLayout, Shape
from dovetail.weights.random_source import random_weights
from dovetail_sdk.mesh import LocalSource
from dovetail_sdk.reference.platform import KERNELS, ReferenceDevice
from dovetail_sdk.runner import Kernel, KernelDevice, NumpyBackend
from dovetail_sdk.testing.families import FAMILIES

COMMON = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "type_vocab_size": 2,
}
BERTS = {"hidden_act": "gelu", "num_labels": 3}
ENCODERS = {
    "bert": {"architectures": ["BertForSequenceClassification"], **BERTS},
    "roberta": {"architectures": ["RobertaForSequenceClassification"], **BERTS},
    "nomic": {"architectures": ["NomicBertModel"], "hidden_act": "silu"},
    "modernbert": {
        "architectures": ["ModernBertForSequenceClassification"],
        "hidden_activation": "gelu",
        "local_attention": 8,
        "num_labels": 3,
    },
}
DECODERS = (
    "llama-tied",
    "llama-biases",
    "llama-one-kv-head",
    "mistral-window",
    "qwen2-mixed-windows",
    "qwen3-tied-biases",
)
FUSED = {
    "fused": ("attention_write", "split_gated_activation", "add_rms_norm"),
    "rewrites": frozenset({"merge_qkv", "merge_gate_up"}),
}
WEIGHT_FORMS = {"f32": None, "int8": INT8, "fp8": FP8, "int4": WeightForm("int4_group", group=8)}


class Meeting:
    """Where members on threads exchange arrays."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.parts: list[np.ndarray] = [np.zeros(0)] * members
        self.barrier = threading.Barrier(members, timeout=60)

    def all(self, rank: int, part: np.ndarray) -> list[np.ndarray]:
        self.parts[rank] = part
        self.barrier.wait()
        found = list(self.parts)
        self.barrier.wait()
        return found


def member(rank: int, meeting: Meeting) -> KernelDevice:
    def all_reduce(x):
        return np.sum(meeting.all(rank, x), axis=0, dtype=np.float32)

    def all_gather(x, *, parts):
        assert parts == meeting.members
        return np.concatenate(meeting.all(rank, x), axis=-1)

    kernels = KERNELS | {
        "all_reduce": Kernel("sum", all_reduce),
        "all_gather": Kernel("join", all_gather),
    }
    return KernelDevice(NumpyBackend(), kernels, ReferenceDevice().capabilities)


def batch(graph) -> Batch:
    starts = np.array([0, 5, 6, 17], np.int32)
    rng = np.random.default_rng(3)
    groups = len(graph.cache)
    return Batch(
        tokens=rng.integers(0, 96, 17).astype(np.int32),
        positions=np.concatenate([np.arange(n) for n in np.diff(starts)])[None].astype(np.int32),
        row_starts=starts,
        slots=np.array([1, 2, 3], np.int32),
        past=np.zeros(3, np.int32),
        tables=(np.array([[1, 2, 0], [3, 0, 0], [4, 5, 6]], np.int32),) * groups,
        copies=(np.zeros((0, 2), np.int32),) * groups,
        outputs=np.arange(17, dtype=np.int32) if graph.chunkable else starts[1:] - 1,
        token_types=rng.integers(0, 2, 17).astype(np.int32),
    )


def outputs(device, graph, source, step) -> np.ndarray:
    model = device.load(graph, source)
    model.allocate(KVLayout(4, "f32", graph.cache), (8,) * len(graph.cache))
    pending = model.compile(Shape(17, 3, 17, 3)).run(step)
    (name,) = graph.outputs
    return pending.fetch(name, np.arange(step.outputs.size, dtype=np.int32)).result()


def prepared(config, *, head=None, form=None, members=1, **options):
    graph = config
    if isinstance(config, dict):
        graph = models.build(config, dtype="f32", max_model_len=64, head=head)
    if form is not None:
        matrices = [name for name, w in graph.weights.items() if len(w.shape) == 2]
        graph = with_forms(graph, dict.fromkeys(matrices, form))
    device = ReferenceDevice()
    ready = passes.prepare(
        graph,
        ops=device.capabilities.ops,
        supports=device.supports,
        members=members,
        check=True,
        **options,
    )
    return ready.graph


def divided(config, members, *, head=None, form=None, **options) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of the whole graph, and of the members, of which all have the same."""
    whole = prepared(config, head=head, form=form, **options)
    graph = prepared(config, head=head, form=form, members=members, **options)
    source, step, meeting = random_weights(graph), batch(whole), Meeting(members)
    one = outputs(ReferenceDevice(), whole, source, step)
    np.testing.assert_array_equal(outputs(ReferenceDevice(), graph, source, step), one)

    def run(rank: int) -> np.ndarray:
        local = graph.local(rank)
        verify(local)
        return outputs(member(rank, meeting), local, LocalSource(graph, rank, source), step)

    with ThreadPoolExecutor(members) as threads:
        found = list(threads.map(run, range(members)))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    return one, found[0]


@pytest.mark.parametrize(("members", "options"), [(2, FUSED), (4, {})], ids=["2-fused", "4-plain"])
@pytest.mark.parametrize("family", DECODERS)
def test_every_decoder_divided_computes_what_it_did_whole(family, members, options):
    one, many = divided(COMMON | FAMILIES[family], members, **options)
    np.testing.assert_allclose(many, one, atol=2e-5)
    assert (many.argmax(-1) == one.argmax(-1)).all()


@pytest.mark.parametrize("members", [2, 4])
@pytest.mark.parametrize("family", ENCODERS)
def test_every_encoder_divided_computes_what_it_did_whole(family, members):
    head = Head("embed" if family == "nomic" else "score", "mean")
    one, many = divided(COMMON | ENCODERS[family], members, head=head)
    np.testing.assert_allclose(many, one, atol=2e-5)


@pytest.mark.parametrize("form", WEIGHT_FORMS)
def test_quantised_weights_are_cut_with_their_scales(form):
    one, many = divided(COMMON | FAMILIES["qwen3"], 2, form=WEIGHT_FORMS[form], **FUSED)
    np.testing.assert_allclose(many, one, atol=2e-5)


def experts(inner=16):
    """A layer of attention with sinks and one of experts, with heads of 8 and a vocabulary of 96."""
    build = GraphBuilder("experts", "f32")
    tokens, rows = build.input("tokens", ("T",)), None
    build.input("positions", (1, "T"))
    rows = build.input("outputs", ("N",))
    build.cache_group(CacheGroup("full", (0,), 2, 8, 8))
    x = build.op("embed", tokens, weights={"table": build.weight("table", (96, 32))})

    def linear(x, name, outputs):
        weight = build.weight(name, (outputs, x.shape[-1]))
        return build.op("linear", x, weights={"weight": weight}, name=name)

    heads = {"q": 4, "k": 2, "v": 2}
    q, k, v = (
        build.op("reshape", linear(x, f"{name}_proj", 8 * count), shape=(count, 8), name=name)
        for name, count in heads.items()
    )
    written = build.op("kv_write", k, v, layer=0)
    y = build.op(
        "sink_attention", q, written, weights={"sinks": build.weight("sinks", (4,))},
        layer=0, scale=0.3, kv_heads=2, value_width=8,
    )  # fmt: skip
    x = build.op("add", x, linear(build.op("reshape", y, shape=(32,)), "o_proj", 32))
    weights = {
        "gate_up": build.weight("gate_up", (6 * inner, 32)),
        "down": build.weight("down", (3 * 32, inner)),
    }
    y = build.op(
        "mixture", x, linear(x, "router", 3), weights=weights,
        k=2, normalised=True, activation="silu",
    )  # fmt: skip
    x = build.op("take_rows", build.op("add", x, y, name="sum"), rows)
    build.output("logits", linear(x, "logits", 96))
    return build.build()


@pytest.mark.parametrize("form", WEIGHT_FORMS)
@pytest.mark.parametrize("members", [2, 4])
def test_experts_and_sinks_divided_compute_what_they_did_whole(form, members):
    """Every member has a part of every expert."""
    given = {"form": WEIGHT_FORMS[form], "rewrites": FUSED["rewrites"]}
    one, many = divided(experts(inner=32), members, **given)
    np.testing.assert_allclose(many, one, atol=2e-5)
    graph = prepared(experts(inner=32), members=members)
    assert graph.local(1).weights["gate_up"].shape == (6 * 32 // members, 32)
    assert graph.local(1).weights["sinks"].shape == (4 // members,)
    ops = [node.op for node in graph.nodes]
    assert ops.count("all_reduce") == 3  # embeddings, attention, experts


def test_experts_that_do_not_divide_are_refused_by_name():
    with pytest.raises(ConfigError, match="the 18 inner numbers of mixture"):
        prepared(experts(inner=18), members=4)


def test_members_hold_their_share_and_nothing_twice():
    graph = prepared(COMMON | FAMILIES["llama"], members=4)
    locals_ = [graph.local(rank) for rank in range(4)]
    assert [group.kv_heads for group in locals_[0].cache] == [1]  # two heads, four members
    for name, weight in graph.weights.items():
        split = graph.sharding.weights.get(name)
        if split is not None and split.even(4):
            assert 4 * np.prod(locals_[0].weights[name].shape) == np.prod(weight.shape)
    ops = [node.op for node in graph.nodes]
    assert ops.count("all_reduce") == 1 + 2 * 2 and ops.count("all_gather") == 1


@pytest.mark.parametrize(
    ("change", "members", "words"),
    [
        ({}, 3, "the 4 heads of layers.0.attention"),
        ({"num_attention_heads": 6, "num_key_value_heads": 2}, 3, "the 2 key heads of"),
        ({"intermediate_size": 66}, 4, "the 66 inputs of layers.0.down_proj"),
    ],
)
def test_what_does_not_divide_is_refused_by_name(change, members, words):
    config = {**COMMON, **FAMILIES["llama"], "head_dim": 16, **change}
    with pytest.raises(ConfigError, match=words):
        prepared(config, members=members)


def test_groups_of_int4_are_not_cut_through():
    config = {**COMMON, **FAMILIES["llama"], "intermediate_size": 128}
    with pytest.raises(ConfigError, match="needs a multiple of 128"):
        prepared(config, members=2, form=replace(INT4, group=128))


def test_a_vocabulary_that_does_not_divide_stays_whole():
    graph = prepared({**COMMON, **FAMILIES["llama-tied"], "vocab_size": 97}, members=2)
    assert "model.embed_tokens.weight" not in graph.sharding.weights
    assert "all_gather" not in {node.op for node in graph.nodes}
    assert "mesh 2" in dump(graph)
