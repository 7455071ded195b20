"""Whole models on the reference platform against transformers, through chunks, forks and mixed steps."""

import random

import numpy as np
import pytest
from dovetail.graph import BF16, F16, INT8, Weight, passes
from dovetail.platform import Batch, KVLayout, Shape
from dovetail_sdk.packing import read_f32
from dovetail_sdk.reference import ReferencePlatform
from dovetail_sdk.reference.platform import ReferenceDevice
from sdk_driver import Driver
from sdk_models import VARIANTS, ArraySource, graph_of, log_softmax, on_reference, random_model


@pytest.mark.parametrize("variant", VARIANTS)
def test_tokens_and_log_probabilities_equal_transformers(variant):
    model = random_model(variant)
    graph = graph_of(model)
    rng = random.Random(5)
    loaded = on_reference(model, graph)
    driver = Driver(loaded, graph.cache, rng, block_size=rng.choice([3, 4, 8]), num_blocks=96)
    base = [rng.randrange(97) for _ in range(25)]
    prompts = [(base[: rng.randint(1, 25)] + [rng.randrange(97)], 6) for _ in range(5)]
    for sequence in driver.generate(prompts):
        wanted = log_softmax(model, sequence.tokens)
        for place, logprob in zip(
            range(len(sequence.prompt), len(sequence.tokens)), sequence.logprobs, strict=True
        ):
            row = wanted[place - 1]
            assert abs(row[sequence.tokens[place]] - logprob) <= 1e-4
            assert row.max() - row[sequence.tokens[place]] <= 1e-4


def test_fused_ops_compute_what_their_parts_do():
    model = random_model("qwen2")
    plain = graph_of(model)
    device = ReferenceDevice()
    fused = passes.prepare(
        plain,
        ops=device.capabilities.ops,
        fused=("add_rms_norm", "attention_write", "split_gated_activation"),
        rewrites=frozenset({"merge_qkv", "merge_gate_up"}),
        supports=device.supports,
    ).graph
    ops = {node.op for node in fused.nodes}
    assert {"add_rms_norm", "attention_write", "split_gated_activation", "split"} <= ops
    ours, theirs = (_logits(on_reference(model, graph), graph) for graph in (fused, plain))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(("dtype", "form"), [("bf16", "bf16"), ("f16", "f16"), ("f32", "bf16")])
def test_smaller_types_stay_near(dtype, form):
    model = random_model("llama")
    exact = log_softmax(model, TOKENS)
    graph = graph_of(model, dtype)
    logits = _logits(on_reference(model, graph), graph, form=form)
    peak = logits.max(-1, keepdims=True)
    ours = logits - peak - np.log(np.exp(logits - peak).sum(-1, keepdims=True))
    error = np.square(ours - exact).mean() / np.square(exact - exact.mean()).mean()
    assert 0 < error < 5e-3


TOKENS = [5, 9, 1, 44, 96, 0, 23, 5, 5, 71, 18]


def _logits(loaded, graph, form="f32"):
    """[T, V] of TOKENS in one step."""
    count = len(TOKENS)
    groups = len(graph.cache)
    loaded.allocate(KVLayout(4, form, graph.cache), (5,) * groups)
    batch = Batch(
        tokens=np.array(TOKENS, np.int32),
        positions=np.arange(count, dtype=np.int32)[None],
        row_starts=np.array([0, count], np.int32),
        slots=np.array([1], np.int32),
        past=np.array([0], np.int32),
        tables=(np.array([[4, 1, 3]], np.int32),) * groups,
        copies=(np.zeros((0, 2), np.int32),) * groups,
        outputs=np.arange(count, dtype=np.int32),
    )
    pending = loaded.compile(Shape(count, 1, count, 3)).run(batch)
    return pending.fetch("logits", np.arange(count, dtype=np.int32)).result()


def test_a_read_of_what_was_never_written_is_refused():
    model = random_model("llama")
    graph = graph_of(model)
    loaded = on_reference(model, graph)
    _logits(loaded, graph)
    step = Batch(
        tokens=np.array([1], np.int32),
        positions=np.array([[9]], np.int32),
        row_starts=np.array([0, 1], np.int32),
        slots=np.array([2], np.int32),
        past=np.array([9], np.int32),
        tables=(np.array([[4, 2, 1]], np.int32),),
        copies=(np.zeros((0, 2), np.int32),),
        outputs=np.array([0], np.int32),
    )
    program = loaded.compile(Shape(1, 1, 1, 3))
    with pytest.raises(ValueError, match=r"position 4 \(block 2, offset 0\) was never written"):
        program.run(step)
    step.tokens[0] = 97
    with pytest.raises(ValueError, match="token 97 is outside the vocabulary of 97"):
        program.run(step)


def test_blocks_move_through_host_memory():
    model = random_model("mistral-window")
    graph = graph_of(model)
    loaded = on_reference(model, graph)
    _logits(loaded, graph)
    (size,) = loaded.block_bytes(KVLayout(4, "f32", graph.cache))
    out = np.zeros((2, size), np.uint8)
    loaded.read_blocks(0, np.array([1, 4], np.int32), out).result()
    loaded.allocate(KVLayout(4, "f32", graph.cache), (5,))
    loaded.write_blocks(0, np.array([3, 2], np.int32), out).result()
    back = np.zeros_like(out)
    loaded.read_blocks(0, np.array([3, 2], np.int32), back).result()
    np.testing.assert_array_equal(out, back)
    loaded.copy_blocks(0, np.array([3], np.int32), np.array([1], np.int32))
    loaded.read_blocks(0, np.array([1, 2], np.int32), back).result()
    np.testing.assert_array_equal(out, back)


class Planes(ArraySource):
    """One weight with its planes given."""

    def __init__(self, weight: Weight, **planes: np.ndarray) -> None:
        self._weight, self._planes = weight, planes

    def spec(self, name):
        return self._weight

    def read(self, name, plane="data", rows=slice(None)):
        return self._planes[plane][rows]


def test_weight_forms_are_read_as_they_are_defined():
    rng = np.random.default_rng(0)
    data = rng.integers(-127, 128, (4, 6)).astype(np.int8)
    scale = rng.random(4, np.float32)
    weight = Weight("w", (4, 6), INT8, ("w",))
    read = read_f32(Planes(weight, data=data, scale=scale), "w")
    assert read[2, 3] == np.float32(data[2, 3]) * scale[2]
    packed = rng.integers(0, 256, (3, 4)).astype(np.uint8)
    grouped = type(INT8)("int4_group", group=4)
    scales, zeros = rng.random((3, 2), np.float32), rng.integers(0, 16, (3, 2)).astype(np.uint8)
    read = read_f32(
        Planes(Weight("w", (3, 8), grouped, ("w",)), data=packed, scale=scales, zero=zeros), "w"
    )
    for o in range(3):
        for i in range(8):
            nibble = int(packed[o, i // 2]) >> (4 * (i % 2)) & 15
            wanted = (nibble - float(zeros[o, i // 4])) * scales[o, i // 4]
            assert abs(read[o, i] - wanted) < 1e-6
    for form, dtype in ((F16, np.float16), (BF16, np.float32)):
        values = rng.random((2, 2)).astype(dtype)
        read = read_f32(Planes(Weight("w", (2, 2), form, ("w",)), data=values), "w")
        assert read.dtype == np.float32 and (read == values.astype(np.float32)).all()


def test_platform_has_one_device():
    platform = ReferencePlatform()
    (info,) = platform.probe()
    device = platform.open([info])
    assert device.memory().host and 0 < device.memory().free <= device.memory().total
    device.close()
    device.close()
