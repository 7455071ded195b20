"""The platforms of GPUs, alike: on what stands in for a chip in every run, and natively, marked gpu, where there is one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from dovetail import models
from dovetail.config import EngineConfig
from dovetail.engine.driven import Driven
from dovetail.engine.load import load_engine
from dovetail.errors import PlatformError
from dovetail.graph import Graph, passes
from dovetail.platform import BlockTransfer, Device, DeviceInfo, KVLayout, Shape
from dovetail.plugins import GROUP, choices, discover
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from dovetail.weights.checkpoint import open_checkpoint
from dovetail.weights.random_source import random_weights
from dovetail_sdk.testing.families import FAMILIES
from sdk_driver import Driver
from sdk_literal import columns
from test_sharding import COMMON, batch

CLASSES = {
    "cuda": "dovetail_cuda.platform:CudaPlatform",
    "rocm": "dovetail_rocm.platform:RocmPlatform",
}
POINTS = [EntryPoint(name, made, GROUP) for name, made in CLASSES.items()]
HERE = Path(__file__).parent
pytest.importorskip("triton", reason="Triton has wheels for Linux on x86-64 alone")

natively = pytest.mark.gpu
stand_ins = pytest.mark.parametrize("name", CLASSES)
everywhere = pytest.mark.parametrize(
    "spec",
    [
        *(f"{name}:host" for name in CLASSES),
        *(pytest.param(name, marks=natively) for name in CLASSES),
    ],
)


def platform(name: str):
    module, _, made = CLASSES[name].partition(":")
    return getattr(import_module(module), made)()


def info_of(spec: str) -> DeviceInfo:
    """The device of "cuda:host", or a chip for "cuda"; skips where there is none."""
    name, _, device = spec.partition(":")
    seen = platform(name).probe()
    if device:
        return next(info for info in seen if info.id == device)
    for info in seen:
        if info.unavailable is None and not info.emulated:
            return info
    pytest.skip(f"no chip of {name}: {seen[0].unavailable}")


@pytest.fixture
def device(spec):
    info = info_of(spec)
    opened = platform(spec.partition(":")[0]).open([info])
    yield opened
    opened.close()


# ------------------------------------------------------------------------------------------------ conformance


def conformance(spec: str, *arguments: str) -> None:
    """In a process of its own: whether Triton interprets is settled once per process."""
    command = [sys.executable, "-m", "dovetail.cli.main", "conformance", spec, *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert " 0 cases" not in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "layers"),
    [("cuda", ("contract", "steps", "programs", "models")), ("rocm", ("contract", "cache"))],
)
def test_the_contract_holds_with_torch_in_the_place_of_the_chip(name, layers):
    """Each layer on one of them; the matrix's jobs have all layers on both."""
    conformance(f"{name}:host", *(word for layer in layers for word in ("--layer", layer)))


@natively
@stand_ins
def test_the_whole_suite_passes_on_the_chip(name):
    conformance(f"{name}:{info_of(name).id}")


@stand_ins
def test_interpreted_kernels_do_what_the_contract_says(name):
    """Some checks of each layer, others on each platform; the matrix's jobs have all of them."""
    done = subprocess.run(
        [sys.executable, HERE / "triton" / "suite.py", CLASSES[name]],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_devices_that_stand_in_are_taken_only_by_name():
    found = discover(POINTS)
    for seen in found:
        assert all(info.emulated for info in seen.devices if info.unavailable is None)
    for name in CLASSES:
        (chosen,) = choices(f"{name}:host,host1", found)
        assert [info.id for info in chosen.devices] == ["host", "host1"]


@stand_ins
def test_what_cannot_be_used_is_not_opened(name):
    made = platform(name)
    with pytest.raises(PlatformError, match=f"{name}:7 cannot be used: it is gone"):
        made.open([DeviceInfo(id="7", description="a chip", unavailable="it is gone")])
    with pytest.raises(PlatformError, match="cannot be in one mesh"):
        made.open([info_of(f"{name}:host"), DeviceInfo(id="0", description="a chip")])


# ------------------------------------------------------------------------------------------------------ steps


def prepared(device: Device, family: str = "qwen2-mixed-windows") -> Graph:
    """A small decoder in f32, as the device wants it."""
    graph = models.build(COMMON | FAMILIES[family], dtype="f32", max_model_len=64)
    able = device.capabilities
    return passes.prepare(
        graph,
        ops=able.ops,
        supports=device.supports,
        fused=able.fused_ops,
        rewrites=able.rewrites,
    ).graph


def generated(device: Device, *, captured: bool = True, depth: int = 2) -> list[list[int]]:
    capture = device._capture
    device._capture = capture if captured else None
    try:
        graph = prepared(device)
        loaded = device.load(graph, random_weights(graph))
    finally:
        device._capture = capture
    rng = random.Random(4)
    driver = Driver(loaded, graph.cache, rng, block_size=16, depth=depth, num_blocks=96)
    prompts = [([rng.randrange(96) for _ in range(rng.randint(1, 30))], 10) for _ in range(7)]
    made = [sequence.tokens for sequence in driver.generate(prompts, temperature=0.7, seed=11)]
    loaded.close()
    return made


@everywhere
def test_captured_steps_give_the_tokens_of_steps_that_are_not(device):
    assert generated(device) == generated(device, captured=False)


@everywhere
def test_steps_in_flight_give_the_tokens_of_one_at_a_time(device):
    assert generated(device, depth=2) == generated(device, depth=1)


@everywhere
def test_a_step_is_issued_before_the_one_before_it_is_over(device):
    """On a chip `run` returns while it computes; what two steps in flight give is what they give one by one."""
    graph = prepared(device, "llama")
    loaded = device.load(graph, random_weights(graph))
    size = 16
    loaded.allocate(KVLayout(size, "f32", graph.cache), (8,) * len(graph.cache))
    program = loaded.compile(Shape(64, 4, 64, 4))
    step = batch(graph)
    draw = columns(3, slot=[1, 2, 3], position=[5, 1, 11])
    ahead = []
    for _ in range(20):
        first = program.run(step)
        ticket = first.sample(np.array([4, 5, 16], np.int32), draw)
        second = program.run(step)
        ahead.append(not first.done())
        again = second.sample(np.array([4, 5, 16], np.int32), draw)
        np.testing.assert_array_equal(ticket.result().ids, again.result().ids)
        second.wait()
        assert first.done() and second.done()
    loaded.close()
    assert any(ahead) or device.memory().host


@everywhere
def test_blocks_move_while_steps_run(device):
    """What is read is as of the call, whatever the steps behind it write; written back, it is what it was."""
    graph = prepared(device, "llama")
    loaded = device.load(graph, random_weights(graph))
    layout = KVLayout(16, "f32", graph.cache)
    loaded.allocate(layout, (8,) * len(graph.cache))
    assert isinstance(loaded, BlockTransfer)
    program = loaded.compile(Shape(64, 4, 64, 4))
    step, other = batch(graph), batch(graph)
    other.tokens[:] = (other.tokens + 7) % 96
    blocks = np.array([1, 3, 4], np.int32)
    outs = [np.zeros((3, loaded.block_bytes(layout)[0]), np.uint8) for _ in range(3)]
    program.run(step).wait()
    first = loaded.read_blocks(0, blocks, outs[0])
    program.run(other)
    second = loaded.read_blocks(0, blocks, outs[1])
    first.result()
    second.result()
    loaded.write_blocks(0, blocks, outs[0]).result()
    loaded.read_blocks(0, blocks, outs[2]).result()
    loaded.close()
    assert outs[0].any() and (outs[0] != outs[1]).any()
    np.testing.assert_array_equal(outs[0], outs[2])


# ------------------------------------------------------------------------------------------------------ meshes


def reply(engine: Driven) -> list[int]:
    """Greedy tokens for a prompt."""
    prompt = np.random.default_rng(5).integers(300, 1500, 20).tolist()
    sampling = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True)
    engine.submit(Request(id="one", prompt=prompt, sampling=sampling, max_tokens=12))
    tokens: list[int] = []
    while len(tokens) < 12:
        for output in engine.step():
            tokens += output.tokens
    return tokens


@pytest.mark.parametrize("spec", ["cuda:host,host1", "rocm:host,host1,host2,host3"])
def test_a_mesh_replies_as_one_device_does(spec):
    """The bundled model, through the engine."""
    found, replies = discover(POINTS), []
    for devices in (spec.partition(",")[0], spec):
        config = EngineConfig(platform=devices, dtype="f32", max_model_len=256, max_num_seqs=2)
        engine = load_engine(config, open_checkpoint("demo"), choices(devices, found))
        try:
            replies.append(reply(engine))
        finally:
            engine.close()
    assert replies[0] == replies[1] and len(replies[0]) > 8
