"""Meshes of processes: the same tokens as one process, and a member that ends is a lost device."""

from __future__ import annotations

import os
import random
import signal

import numpy as np
import pytest
import torch
from dovetail import models
from dovetail.errors import DeviceLost, PlatformError
from dovetail.graph import passes
from dovetail.models.heads import Head
from dovetail.platform import KVLayout, Shape
from dovetail.weights.random_source import random_weights
from dovetail_sdk.testing.families import FAMILIES
from dovetail_sdk.torch import KERNELS, TorchDevice
from dovetail_sdk.torch.mesh import open_mesh
from sdk_driver import Driver
from test_sharding import COMMON, DECODERS, ENCODERS, FUSED, batch, outputs
from torch_cpu import CAPABILITIES

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=[2, 4])
def mesh(request):
    device = open_mesh("torch_member:open_one", ["0"] * request.param, "gloo")
    yield device, request.param
    device.close()


def generated(device, graph, source, seed):
    loaded = device.load(graph, source)
    rng = random.Random(seed)
    driver = Driver(loaded, graph.cache, rng, block_size=4, depth=2, num_blocks=64)
    prompts = [([rng.randrange(96) for _ in range(rng.randint(1, 20))], 6) for _ in range(4)]
    made = [sequence.tokens for sequence in driver.generate(prompts)]
    loaded.close()
    return made


def prepared(config, device, members, head=None):
    graph = models.build(config, dtype="f32", max_model_len=64, head=head)
    ops, supports = device.capabilities.ops, device.supports
    return passes.prepare(graph, ops=ops, supports=supports, members=members, **FUSED).graph


@pytest.mark.parametrize("family", DECODERS)
def test_every_decoder_gives_the_tokens_of_one_process(mesh, family):
    device, members = mesh
    config = COMMON | FAMILIES[family]
    graph = prepared(config, device, members)
    source = random_weights(graph)
    single = TorchDevice(torch.device("cpu"), KERNELS, CAPABILITIES)
    one = prepared(config, single, 1)
    assert generated(device, graph, source, 3) == generated(single, one, random_weights(one), 3)


@pytest.mark.parametrize("family", ENCODERS)
def test_every_encoder_gives_the_numbers_of_one_process(mesh, family):
    device, members = mesh
    config = COMMON | ENCODERS[family]
    head = Head("embed" if family == "nomic" else "score", "mean")
    single = TorchDevice(torch.device("cpu"), KERNELS, CAPABILITIES)
    one, many = (
        prepared(config, where, count, head) for where, count in ((single, 1), (device, members))
    )
    wanted = outputs(single, one, random_weights(one), batch(one))
    found = outputs(device, many, random_weights(many), batch(many))
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_a_member_that_ends_is_a_lost_device():
    device = open_mesh("torch_member:open_one", ["0", "0"], "gloo")
    graph = prepared(COMMON | FAMILIES["llama"], device, 2)
    loaded = device.load(graph, random_weights(graph))
    loaded.allocate(KVLayout(4, "f32", graph.cache), (8,) * len(graph.cache))
    program = loaded.compile(Shape(17, 3, 17, 3))
    step = batch(graph)
    program.run(step).wait()
    os.kill(device._processes._processes[1].pid, signal.SIGKILL)
    with pytest.raises(DeviceLost, match="member"):
        for _ in range(1000):
            program.run(step).wait()
    with pytest.raises(DeviceLost):
        loaded.workspace(program.shape)
    loaded.close()
    device.close()
    device.close()


def test_what_a_member_cannot_open_is_said():
    with pytest.raises(PlatformError, match="no such chip"):
        open_mesh("torch_member:open_one", ["0", "broken"], "gloo")
