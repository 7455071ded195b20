"""Ops on one element or row at a time. What is more than one operation is computed in f32."""

from __future__ import annotations

import math

import mlx.core as mx

ROOT_2 = math.sqrt(2.0)
ROOT_2_PI = math.sqrt(2.0 / math.pi)


def embed(ids: mx.array, *, table: mx.array) -> mx.array:
    """Rows of a table: ids [T], table [V, E] -> [T, E]."""
    return table[ids]


def take_rows(x: mx.array, rows: mx.array) -> mx.array:
    """x [T, E], rows [N] -> [N, E]."""
    return x[rows]


def activation(x: mx.array, *, activation: str) -> mx.array:
    """silu, gelu, gelu_tanh or relu, any shape; f32."""
    x = x.astype(mx.float32)
    if activation == "silu":
        return x * mx.sigmoid(x)
    if activation == "gelu":
        return x / 2 * (1 + mx.erf(x / ROOT_2))
    if activation == "gelu_tanh":
        return x / 2 * (1 + mx.tanh(ROOT_2_PI * (x + 0.044715 * x * x * x)))
    return mx.maximum(x, 0)


_ACTIVATION = activation  # gated_activation has an argument of that name


def gated_activation(gate: mx.array, up: mx.array, *, activation: str) -> mx.array:
    """activation(gate) * up: [*, F]."""
    return _ACTIVATION(gate, activation=activation) * up


def split_gated_activation(x: mx.array, *, activation: str) -> mx.array:
    """The first half of the last axis is gate, the second up: x [*, 2F] -> [*, F]."""
    gate, up = mx.split(x, 2, axis=-1)
    return gated_activation(gate, up, activation=activation)


def add(a: mx.array, b: mx.array) -> mx.array:
    """a + b."""
    return a + b


def mul(a: mx.array, b: mx.array) -> mx.array:
    """a * b."""
    return a * b


def scale(x: mx.array, *, factor: float) -> mx.array:
    """x * factor; f32."""
    return x.astype(mx.float32) * factor


def soft_cap(x: mx.array, *, cap: float) -> mx.array:
    """cap * tanh(x / cap); f32."""
    return mx.tanh(x.astype(mx.float32) / cap) * cap


def split(x: mx.array, *, sizes: tuple[int, ...]) -> tuple[mx.array, ...]:
    """Consecutive pieces of the last axis: [*, W] -> one [*, size] per size."""
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes) - 1)]
    return tuple(mx.split(x, ends, axis=-1))


def reshape(x: mx.array, *, shape: tuple[int, ...]) -> mx.array:
    """The axes after the first become `shape`: [T, ...] -> [T, *shape]."""
    return x.reshape(x.shape[0], *shape)
