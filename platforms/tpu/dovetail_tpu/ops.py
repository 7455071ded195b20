"""Ops of the graph in JAX, one function each: the arguments are the step, the op's inputs, its weights by role, its
attributes. Statistics are in f32; results have the graph's dtype. The meaning in numbers is the reference's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from . import cached, encoder_ops, mesh_ops
from .linear import multiply
from .trace import Array, Loaded, Step

F32 = jnp.float32


def embed(step: Step, ids: Array, *, table: Loaded, dtype: Any) -> Array:
    """ids [T] -> [T, E]."""
    return jnp.take(table.data, ids, axis=0, mode="clip").astype(dtype)


def linear(
    step: Step, x: Array, *, weight: Loaded, bias: Loaded | None = None, dtype: Any
) -> Array:
    """x [*, I], weight [O, I] -> [*, O]."""
    y = multiply(step.settings, x, weight)
    if bias is not None:
        y = y + bias.data.astype(F32)
    return y.astype(dtype)


def rms_norm(step: Step, x: Array, *, weight: Loaded, eps: float, dtype: Any) -> Array:
    """x [*, W]."""
    wide = x.astype(F32)
    mean = jnp.mean(lax.square(wide), axis=-1, keepdims=True)
    return (wide * lax.rsqrt(mean + eps) * weight.data.astype(F32)).astype(dtype)


def layer_norm(
    step: Step, x: Array, *, weight: Loaded, bias: Loaded | None = None, eps: float, dtype: Any
) -> Array:
    """x [*, W]."""
    wide = x.astype(F32)
    centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(lax.square(centred), axis=-1, keepdims=True)
    y = centred * lax.rsqrt(variance + eps) * weight.data.astype(F32)
    return (y if bias is None else y + bias.data.astype(F32)).astype(dtype)


def rope(
    step: Step,
    x: Array,
    positions: Array,
    *,
    frequencies: tuple[float, ...],
    factor: float,
    interleaved: bool,
    dtype: Any,
) -> Array:
    """x [T, H, D], positions [T]."""
    n = len(frequencies)
    angles = positions.astype(F32)[:, None] * np.array(frequencies, np.float32)
    cos = (lax.cos(angles) * np.float32(factor))[:, None, :]
    sin = (lax.sin(angles) * np.float32(factor))[:, None, :]
    turned, rest = x[..., : 2 * n].astype(F32), x[..., 2 * n :]
    if interleaved:
        pairs = turned.reshape(*turned.shape[:-1], n, 2)
        a, b = pairs[..., 0], pairs[..., 1]
        joined = jnp.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(turned.shape)
    else:
        a, b = turned[..., :n], turned[..., n:]
        joined = lax.concatenate([a * cos - b * sin, b * cos + a * sin], turned.ndim - 1)
    return (
        joined.astype(dtype)
        if not rest.shape[-1]
        else lax.concatenate([joined.astype(dtype), rest], x.ndim - 1)
    )


def activation(step: Step, x: Array, *, activation: str, dtype: Any) -> Array:
    """Any shape."""
    return active(x.astype(F32), activation).astype(dtype)


def active(x: Array, name: str) -> Array:
    """silu, gelu, gelu_tanh or relu of f32."""
    if name == "silu":
        return x * lax.logistic(x)
    if name == "gelu":
        return 0.5 * x * (1 + lax.erf(x * np.float32(0.5**0.5)))
    if name == "gelu_tanh":
        return 0.5 * x * (1 + lax.tanh(np.float32((2 / np.pi) ** 0.5) * (x + 0.044715 * x * x * x)))
    return lax.max(x, np.float32(0))


def gated_activation(step: Step, gate: Array, up: Array, *, activation: str, dtype: Any) -> Array:
    """gate, up [*, F]."""
    return (active(gate.astype(F32), activation) * up.astype(F32)).astype(dtype)


def split_gated_activation(step: Step, x: Array, *, activation: str, dtype: Any) -> Array:
    """x [*, 2F]."""
    half = x.shape[-1] // 2
    return gated_activation(step, x[..., :half], x[..., half:], activation=activation, dtype=dtype)


def add(step: Step, a: Array, b: Array, *, dtype: Any) -> Array:
    return (a.astype(F32) + b.astype(F32)).astype(dtype)


def mul(step: Step, a: Array, b: Array, *, dtype: Any) -> Array:
    return (a.astype(F32) * b.astype(F32)).astype(dtype)


def scale(step: Step, x: Array, *, factor: float, dtype: Any) -> Array:
    return (x.astype(F32) * np.float32(factor)).astype(dtype)


def soft_cap(step: Step, x: Array, *, cap: float, dtype: Any) -> Array:
    return (lax.tanh(x.astype(F32) / np.float32(cap)) * np.float32(cap)).astype(dtype)


def split(step: Step, x: Array, *, sizes: tuple[int, ...], dtype: Any) -> tuple[Array, ...]:
    ends = np.cumsum(sizes).tolist()
    return tuple(x[..., end - size : end] for size, end in zip(sizes, ends, strict=True))


def reshape(step: Step, x: Array, *, shape: tuple[int, ...], dtype: Any) -> Array:
    return x.reshape(x.shape[0], *shape)


def take_rows(step: Step, x: Array, rows: Array, *, dtype: Any) -> Array:
    """x [T, E], rows [N]."""
    return jnp.take(x, rows, axis=0, mode="clip")


def add_rms_norm(
    step: Step, x: Array, residual: Array, *, weight: Loaded, eps: float, dtype: Any
) -> tuple[Array, Array]:
    """The sum is rounded before it is normalised, as it is where it is an op of its own."""
    total = add(step, x, residual, dtype=dtype)
    return rms_norm(step, total, weight=weight, eps=eps, dtype=dtype), total


Op = Callable[..., Any]

_ALL: tuple[Op, ...] = (
    embed,
    linear,
    rms_norm,
    layer_norm,
    rope,
    cached.kv_write,
    cached.attention,
    cached.attention_write,
    activation,
    gated_activation,
    split_gated_activation,
    add,
    mul,
    scale,
    soft_cap,
    split,
    reshape,
    take_rows,
    add_rms_norm,
    *encoder_ops.FUNCTIONS,
    *mesh_ops.FUNCTIONS,
)
OPS: Mapping[str, Op] = MappingProxyType({function.__name__: function for function in _ALL})
"""Op -> its function."""

CACHED = frozenset({"kv_write", "attention", "attention_write"})
"""Ops that get the layer of their node."""
