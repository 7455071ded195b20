"""Mixtures of experts against plain NumPy, by the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dovetail_sdk.packing import unpack_int4
from dovetail_sdk.reference import ops as reference
from dovetail_sdk.triton.experts import group, mixture, route
from dovetail_sdk.triton.quantised import EightBits, FourBits, in_blocks
from steps import ERROR, error, random_tensor

EXPERTS, WIDTH, FORWARD = 5, 128, 128


def numbers(shape, form, seed):
    """A weight [X, O, I] in a form, and its numbers in f32."""
    random = np.random.default_rng(seed)
    if form == "dense":
        weight = random_tensor(shape, seed=seed)
        return weight, weight.numpy()
    experts, rows, inputs = shape
    if form == "int8":
        data = random.integers(-128, 128, shape, np.int8)
        scale = random.uniform(0.001, 0.01, (experts, rows)).astype(np.float32)
        return EightBits(torch.tensor(data), torch.tensor(scale)), data * scale[..., None]
    size = int(form.removeprefix("int4g"))
    planes, weights = [], []
    for _ in range(experts):
        data = random.integers(0, 256, (rows, inputs // 2), np.uint8)
        scale = random.uniform(0.01, 0.1, (rows, inputs // size)).astype(np.float32)
        zero = random.integers(0, 16, (rows, inputs // size), np.uint8)
        grouped = unpack_int4(data).reshape(rows, -1, size).astype(np.float32)
        weights.append(((grouped - zero[..., None]) * scale[..., None]).reshape(rows, -1))
        planes.append(
            (in_blocks(torch.tensor(data)), torch.tensor(scale.T.copy()), torch.tensor(zero.T.copy()))
        )  # fmt: skip
    return FourBits(*(torch.stack(plane) for plane in zip(*planes, strict=True)), size), np.stack(
        weights
    )


def routed(logits, k, normalised):
    """Weights and ids by NumPy."""
    mass = np.exp(logits - logits.max(-1, keepdims=True))
    mass /= mass.sum(-1, keepdims=True)
    ids = np.argsort(-mass, axis=-1, kind="stable")[:, :k]
    weights = np.take_along_axis(mass, ids, -1)
    return weights / weights.sum(-1, keepdims=True) if normalised else weights, ids


@pytest.mark.parametrize("form", ["dense", "int8", "int4g128", "int4g32"])
@pytest.mark.parametrize("tokens", [1, 11])
def test_a_mixture_is_the_weighted_sum_of_its_experts(form, tokens):
    k, normalised = (2, True) if tokens > 1 else (3, False)
    x, logits = random_tensor((tokens, WIDTH)), random_tensor((tokens, EXPERTS), seed=3)
    gate_up, up_numbers = numbers((EXPERTS, 2 * FORWARD, WIDTH), form, 4)
    down, down_numbers = numbers((EXPERTS, WIDTH, FORWARD), form, 5)
    y = mixture(
        x, logits, gate_up, down,
        k=k, normalised=normalised, activation="silu", architecture="emulated",
    )  # fmt: skip
    weights, ids = routed(logits.numpy(), k, normalised)
    wanted = np.zeros((tokens, WIDTH), np.float32)
    for token in range(tokens):
        for weight, expert in zip(weights[token], ids[token], strict=True):
            hidden = reference.split_gated_activation(
                up_numbers[expert] @ x[token].numpy(), activation="silu"
            )
            wanted[token] += weight * (down_numbers[expert] @ hidden)
    assert error(y, wanted) < ERROR[torch.float32]


def test_routing_takes_the_largest_and_the_lowest_of_equal_ones():
    logits = torch.tensor([[0.0, 2.0, 2.0, -1.0, 2.0], [float("-inf")] * 4 + [1.0], [0.0] * 5])
    weights, ids = route(logits, 3, normalised=True)
    assert ids.tolist() == [[1, 2, 4], [4, 0, 1], [0, 1, 2]]
    assert torch.allclose(weights[0], torch.full((3,), 1 / 3))
    assert weights[1].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("tokens", [0, 1, 50])
def test_every_pair_is_in_a_tile_of_its_expert(tokens):
    ids = torch.tensor(np.random.default_rng(tokens).integers(0, 7, (tokens, 3)), dtype=torch.int32)
    found = group(ids, 7, 16)
    order = found.order.view(-1, 16)
    assert sorted(order[order >= 0].tolist()) == list(range(3 * tokens))
    for tile, owner in zip(order, found.owners.tolist(), strict=True):
        assert all(ids.view(-1)[pair] == owner for pair in tile[tile >= 0].tolist())
