"""The torch toolkit on the host: the contract, sampling number by number, what is captured and when."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from dovetail.graph import passes
from dovetail.platform import KVLayout, LateEdits, SamplingColumns, Shape
from dovetail.weights.random_source import random_weights
from dovetail_sdk.conformance import run
from dovetail_sdk.sampling import HostSampler
from dovetail_sdk.torch import KERNELS, TorchDevice, fp8
from dovetail_sdk.torch.capture import RecordingCapture, buckets
from dovetail_sdk.torch.lint import CaptureLint, LintingCapture, NotCapturable
from dovetail_sdk.torch.queue import Queue
from dovetail_sdk.torch.registers import DeviceRegisters
from dovetail_sdk.torch.sampler import DeviceSampler
from dovetail_sdk.torch.staging import Staging
from sdk_driver import Driver
from sdk_models import graph_of, on_reference, random_model
from test_sharding import batch
from torch_cpu import CAPABILITIES, RecordedPlatform, TorchPlatform

CPU = torch.device("cpu")
torch.set_num_threads(1)  # of ops this small
OPS = "^(embed_part|mean_rows|tanh)$"


@pytest.mark.parametrize("platform", [TorchPlatform, RecordedPlatform])
@pytest.mark.parametrize("layer", ["cache", "steps", "programs"])
def test_the_toolkit_keeps_the_contract(platform, layer):
    card = run(platform(), layers=[layer])
    assert card.ok, [f"{failure.check}: {failure.reason}" for failure in card.failures]


def test_some_plain_ops_compute_what_the_reference_does():
    card = run(TorchPlatform(), layers=["ops"], ops=OPS)
    assert card.ok, [f"{failure.check}: {failure.reason}" for failure in card.failures]


# ------------------------------------------------------------------------------------------------------- sampling


def columns(rng: np.random.Generator, n: int) -> SamplingColumns:
    def some(values, dtype):
        return rng.choice(np.array(values, dtype), n)

    return SamplingColumns(
        slot=some([-1, 1, 2, 70000], np.int32),
        target=some([-1, -1, -1, 5], np.int32),
        temperature=some([0, 0.3, 1.0, 2.5], np.float32),
        top_k=some([0, 1, 7, 200], np.int32),
        top_p=some([1, 0.5, 0.97], np.float32),
        min_p=some([0, 0.01, 0.3], np.float32),
        seed=rng.integers(0, 2**32, (n, 2), np.uint32),
        position=rng.integers(0, 2**31 - 1, n).astype(np.int32),
        logprobs=some([-1, 0, 1, 6], np.int32),
    )


def edits(rng: np.random.Generator, n: int, vocab: int) -> LateEdits:
    rows = np.sort(rng.integers(0, n, 3 * n)).astype(np.int32)
    masked = np.unique(rng.integers(0, n, n // 2)).astype(np.int32)
    return LateEdits(
        rows=rows,
        ids=np.concatenate(
            [rng.permutation(vocab)[:c] for c in np.bincount(rows, minlength=n)]
        ).astype(np.int32),
        factors=rng.choice(np.array([0.5, 1, 2], np.float32), rows.size),
        addends=rng.choice(np.array([-np.inf, -1, 0, 3], np.float32), rows.size),
        mask_rows=masked,
        masks=rng.integers(0, 2**32, (masked.size, -(-vocab // 32)), np.uint32),
    )


@pytest.mark.parametrize("seed", range(12))
def test_sampling_on_the_device_equals_sampling_on_the_host(seed):
    rng = np.random.default_rng(seed)
    vocab = int(rng.integers(40, 3000))
    logits = (4 * rng.normal(size=(9, vocab))).astype(np.float32)
    logits = np.round(logits, 1) if seed % 2 else logits  # ties
    if seed % 3 == 0:
        logits[4, 3], logits[5, 8], logits[6] = np.nan, np.inf, -np.inf
    rows = rng.integers(0, 9, 20).astype(np.int32)
    given, late = columns(rng, 20), edits(rng, 20, vocab) if seed % 4 else None
    queue, registers = Queue(), DeviceRegisters(CPU)
    sampler = DeviceSampler(queue, Staging(queue, CPU))
    wanted = HostSampler(vocab).sample(logits, rows, given, late)
    found = sampler.sample(torch.from_numpy(logits), rows, given, late, registers).result()
    np.testing.assert_array_equal(found.not_finite, wanted.not_finite)
    good = ~wanted.not_finite
    np.testing.assert_array_equal(found.ids[good], wanted.ids[good])
    np.testing.assert_allclose(found.logprobs, wanted.logprobs, atol=1e-5)
    np.testing.assert_array_equal(found.top_ids, wanted.top_ids)
    np.testing.assert_allclose(found.top_logprobs, wanted.top_logprobs, atol=1e-5)
    last = {slot: at for at, slot in enumerate(given.slot.tolist()) if slot >= 0}
    assert all(
        registers.tokens[slot] in found.ids[given.slot == slot] for slot in last
    )  # several rows with one slot: any of them


# -------------------------------------------------------------------------------------------------------- capture


@pytest.mark.parametrize("most", [1, 3, 8, 100, 256, 500])
def test_buckets_hold_every_number_of_rows_with_little_padding(most):
    sizes = buckets(most)
    assert sizes == sorted(set(sizes)) and sizes[-1] == most
    for rows in range(1, most + 1):
        bucket = min(size for size in sizes if size >= rows)
        assert bucket - rows <= max(7, rows // 3)


class Counting(RecordingCapture):
    made: list[Counting] = []

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.made.append(self)


def test_captured_steps_give_the_tokens_of_steps_that_are_not():
    model = random_model("qwen2-mixed-windows")
    graph = graph_of(model)
    tensors = random_weights(graph)
    Counting.made.clear()
    made = []
    for capture in (None, Counting):
        device = TorchDevice(CPU, KERNELS, CAPABILITIES, capture=capture)
        rng = random.Random(4)
        loaded = device.load(graph, tensors)
        driver = Driver(loaded, graph.cache, rng, block_size=4, depth=2, num_blocks=96)
        prompts = [([rng.randrange(97) for _ in range(rng.randint(1, 20))], 8) for _ in range(7)]
        made.append([s.tokens for s in driver.generate(prompts, temperature=0.7, seed=11)])
    assert made[0] == made[1]
    assert len(Counting.made[0].launched) > 10 and len(set(map(id, Counting.made[0].launched))) > 2


def test_captured_steps_follow_a_cache_that_is_made_anew():
    graph = graph_of(random_model("llama"))
    device = TorchDevice(CPU, KERNELS, CAPABILITIES, capture=Counting)
    loaded = device.load(graph, random_weights(graph))
    tokens = []
    for blocks in (64, 96):
        driver = Driver(loaded, graph.cache, random.Random(1), block_size=4, num_blocks=blocks)
        tokens.append([s.tokens for s in driver.generate([([5, 6, 7], 6), ([8], 5)])])
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize("variant", ["llama", "qwen2-mixed-windows", "qwen3"])
def test_a_step_that_is_captured_waits_for_nothing(variant):
    graph = graph_of(random_model(variant))
    device = TorchDevice(CPU, KERNELS, CAPABILITIES, capture=lambda _: LintingCapture())
    loaded = device.load(graph, random_weights(graph))
    loaded.allocate(KVLayout(4, "f32", graph.cache), (9,) * len(graph.cache))
    loaded.compile(Shape(8, 4, 8, 8))  # raises NotCapturable


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: torch.tensor([1.0]) + x,
        lambda x: bool((x > 0).all()),
        lambda x: x.nonzero(),
    ],
)
def test_the_lint_sees_what_cannot_be_captured(work):
    x = torch.ones(3)
    with CaptureLint():
        x.cumsum(0).where(x > 0, 0.0)
        with pytest.raises(NotCapturable):
            work(x)


@pytest.mark.parametrize("variant", ["llama", "qwen2-mixed-windows", "qwen3"])
def test_the_launchers_of_triton_wait_for_nothing(variant):
    """A captured step of our kernels, whose launches are written down and not run."""
    pytest.importorskip("triton", reason="Triton has wheels for Linux on x86-64 alone")
    from dovetail_sdk.gpu import Chip, choosing
    from dovetail_sdk.triton.launch import recorded

    chip = Chip("sm_90", "cuBLAS", "e4m3fn")
    device = TorchDevice(
        CPU,
        choosing.kernels(chip),
        choosing.capabilities(chip),
        capture=lambda _: LintingCapture(),
        fp8="e4m3fn",
    )
    plain = graph_of(random_model(variant))
    able = device.capabilities
    graph = passes.prepare(
        plain, ops=able.ops, supports=device.supports, fused=able.fused_ops, rewrites=able.rewrites
    ).graph
    loaded = device.load(graph, random_weights(graph))
    loaded.allocate(KVLayout(4, "fp8", graph.cache), (9,) * len(graph.cache))
    with recorded() as launches:
        loaded.compile(Shape(8, 4, 8, 8))  # raises NotCapturable
    names = {launch.name for launch in launches}
    assert {"attention", "rope_write", "rms_norm", "activation"} <= names


def test_a_ragged_step_and_its_sampling_wait_for_nothing():
    """What is not captured is issued all the same: prompts beside rows of one token, edits, masks and draws."""
    graph = graph_of(random_model("qwen2-mixed-windows"))
    loaded = TorchDevice(CPU, KERNELS, CAPABILITIES).load(graph, random_weights(graph))
    loaded.allocate(KVLayout(4, "f32", graph.cache), (9,) * len(graph.cache))
    program, rng = loaded.compile(Shape(17, 3, 17, 3)), np.random.default_rng(2)
    first, second = batch(graph), batch(graph)
    second.tokens[6] = ~1
    drawn, every = columns(rng, 17), np.arange(17, dtype=np.int32)
    drawn.slot[:] = [1, *[-1] * 16]
    with CaptureLint(from_host=True):
        program.run(first).sample(every, drawn)
        pending = program.run(second)
        ticket = pending.sample(every, columns(rng, 17), edits(rng, 17, 97))
        pending.fetch("logits", np.array([3, 1], np.int32))
        with pytest.raises(NotCapturable):
            ticket.words.sum().item()


@pytest.mark.parametrize("kind", [None, "e4m3fn", "e4m3fnuz"])
def test_a_weight_in_fp8_is_the_same_numbers_in_every_kind(kind):
    bits = np.array([bit for bit in range(256) if bit & 0x7F != 0x7F], np.uint8)
    data = torch.from_numpy(bits).view(torch.float8_e4m3fn)[None]
    found, scale = fp8.own(data, torch.tensor([0.5]), kind)
    if kind is None:
        assert found.dtype == torch.uint8
        found = found.view(torch.float8_e4m3fn)
    assert torch.equal(found.float() * scale, data.float() * 0.5)


@pytest.mark.parametrize(("kind", "largest"), [("e4m3fn", 448.0), ("e4m3fnuz", 240.0)])
def test_what_is_too_large_for_fp8_becomes_its_largest_number(kind, largest):
    x = torch.tensor([1e5, -1e5, 1.0, float("nan")])
    found = fp8.rounded(x, fp8.KINDS[kind]).float()
    assert found[:3].tolist() == [largest, -largest, 1.0] and bool(found[3].isnan())


def test_tokens_equal_the_reference(rng_seed=3):
    model = random_model("llama-tied-biased-interpolated")
    graph = graph_of(model)
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    from sdk_models import ArraySource

    ours = TorchDevice(CPU, KERNELS, CAPABILITIES).load(graph, ArraySource(graph, tensors))
    made = []
    for loaded in (ours, on_reference(model, graph)):
        rng = random.Random(rng_seed)
        driver = Driver(loaded, graph.cache, rng, block_size=3, num_blocks=96)
        prompts = [([rng.randrange(97) for _ in range(rng.randint(1, 30))], 6) for _ in range(5)]
        made.append([sequence.tokens for sequence in driver.generate(prompts)])
    assert made[0] == made[1]
