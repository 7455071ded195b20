"""Ops that the common families do not use, against the reference platform."""

from collections.abc import Callable

import numpy as np
import pytest
from cpu_driver import blocks_for, log_softmax, make_batch, prompt
from dovetail.graph import CacheGroup, Graph, GraphBuilder, Value
from dovetail.platform import Device, KVLayout, Shape
from dovetail.weights import random_weights
from dovetail_sdk.reference import ReferencePlatform

HEADS, WIDTH = 2, 32
HIDDEN = HEADS * WIDTH
FREQUENCIES = tuple(10.0 ** (-index / 4) for index in range(16))


def norm(build: GraphBuilder, x: Value) -> Value:
    weights = {role: build.weight(f"norm.{role}", (HIDDEN,)) for role in ("weight", "bias")}
    return build.op("layer_norm", x, weights=weights, eps=1e-5)


def add_norm(build: GraphBuilder, x: Value) -> Value:
    weight = build.weight("norm.weight", (HIDDEN,))
    normed, total = build.op_many("add_rms_norm", x, x, weights={"weight": weight}, eps=1e-5)
    return build.op("mul", normed, total)


def gated(build: GraphBuilder, x: Value, activation: str) -> Value:
    weight = build.weight("both", (2 * HIDDEN, HIDDEN))
    both = build.op("linear", x, weights={"weight": weight})
    return build.op("split_gated_activation", both, activation=activation)


def pieces(build: GraphBuilder, x: Value) -> Value:
    first, second = build.op_many("split", x, sizes=(HIDDEN - 24, 24))
    weight = build.weight("second", (HIDDEN - 24, 24))
    return build.op(
        "linear",
        build.op("add", first, build.op("linear", second, weights={"weight": weight})),
        weights={"weight": build.weight("back", (HIDDEN, HIDDEN - 24))},
    )


def scaled(build: GraphBuilder, x: Value) -> Value:
    return build.op("soft_cap", build.op("scale", x, factor=5.0), cap=2.0)


def activated(build: GraphBuilder, x: Value, activation: str) -> Value:
    return build.op("activation", x, activation=activation)


BODIES: dict[str, Callable[[GraphBuilder, Value], Value]] = {
    "layer_norm": norm,
    "add_rms_norm": add_norm,
    "split": pieces,
    "scale, soft_cap": scaled,
    **{
        f"{kind.__name__} {name}": lambda build, x, kind=kind, name=name: kind(build, x, name)
        for kind in (gated, activated)
        for name in ("silu", "gelu", "gelu_tanh", "relu")
    },
}


def make_graph(
    body: Callable[[GraphBuilder, Value], Value], dtype: str = "f32", **rope: object
) -> Graph:
    """embed, the body, one attention without a projection, the head."""
    build = GraphBuilder("ops", dtype)
    tokens, positions, rows = (
        build.input(name, shape)
        for name, shape in (("tokens", ("T",)), ("positions", (1, "T")), ("outputs", ("N",)))
    )
    build.cache_group(CacheGroup("full", (0,), HEADS, WIDTH, WIDTH))
    table = build.weight("table", (320, HIDDEN))
    x = body(build, build.op("embed", tokens, weights={"table": table}))
    heads = build.op("reshape", x, shape=(HEADS, WIDTH))
    turned = build.op("rope", heads, positions, **rope)
    written = build.op("kv_write", turned, heads, layer=0)
    y = build.op(
        "attention", turned, written, layer=0, scale=0.2, kv_heads=HEADS, value_width=WIDTH
    )
    y = build.op("take_rows", build.op("reshape", y, shape=(HIDDEN,)), rows)
    build.output("hidden", y)
    build.output("logits", build.op("linear", y, weights={"weight": table}))
    return build.build()


def both_outputs(
    device: Device, graph: Graph, first_position: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and hidden states of one ragged prompt."""
    assert all(support.kernel for support in device.supports(graph))
    model = device.load(graph, random_weights(graph))
    model.allocate(KVLayout(32, graph.dtype, graph.cache), (10,))
    program = model.compile(Shape(64, 2, 64, 4))
    rows = [(prompt(40), 0, blocks_for(40, first=1)), (prompt(7, seed=1), 0, [5])]
    batch = make_batch(graph, rows)
    batch.positions += first_position
    pending = program.run(batch)
    every = np.arange(47, dtype=np.int32)
    pending.wait()
    logits, hidden = (pending.fetch(name, every).result() for name in ("logits", "hidden"))
    model.close()
    return log_softmax(logits), hidden


@pytest.fixture(scope="module")
def plain() -> Device:
    platform = ReferencePlatform()
    return platform.open(platform.probe())


def check(device: Device, plain: Device, graph: Graph) -> None:
    for found, wanted in zip(both_outputs(device, graph), both_outputs(plain, graph), strict=True):
        assert np.abs(found - wanted).max() <= 1e-4


@pytest.mark.parametrize("name", BODIES)
def test_an_op_is_what_the_reference_says(device, plain, name):
    check(device, plain, make_graph(BODIES[name], frequencies=FREQUENCIES))


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("rotated", [16, 10, 1])
def test_rope_of_any_share_and_order(device, plain, rotated, interleaved):
    graph = make_graph(
        lambda build, x: x,
        frequencies=FREQUENCIES[:rotated],
        factor=1.3,
        interleaved=interleaved,
    )
    check(device, plain, graph)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("rotated", [16, 10])
def test_rope_keeps_its_angles_in_f32(device, rotated, interleaved):
    """Angles in 16 bits would be wrong by many turns at this position."""
    if "bf16" not in device.capabilities.compute_dtypes:
        pytest.skip("this processor does not compute in bf16")
    rope = {"frequencies": FREQUENCIES[:rotated], "interleaved": interleaved}
    hidden = [
        both_outputs(device, make_graph(lambda build, x: x, dtype, **rope), 5000)[1]
        for dtype in ("f32", "bf16")
    ]
    assert np.abs(hidden[0] - hidden[1]).max() <= 0.02
