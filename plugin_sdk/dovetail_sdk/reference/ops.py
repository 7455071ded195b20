"""Every op of the model graph in NumPy, one function each: what the ops mean, in numbers.

Arguments are the op's inputs in order, then its weights by role, then its attributes. Numbers are f32 in and out; a
graph in bf16 or f16 rounds every output to its type afterwards (NumpyBackend.rounded). Axis letters are those of
dovetail.graph; * stands for any leading axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from dovetail.platform import F32, I32

from dovetail_sdk.runner import Layer, Step

from . import encoder_ops, expert_ops, mesh_ops
from .softmax import attend

ROOT_2 = math.sqrt(2.0)
ROOT_2_PI = math.sqrt(2.0 / math.pi)
_ERF = np.frompyfunc(math.erf, 1, 1)


def embed(ids: I32, *, table: F32) -> F32:
    """Rows of a table.

    ids      [T]     i32
    table    [V, E]
    returns  [T, E]
    """
    return np.asarray(table[ids])


def linear(x: F32, *, weight: F32, bias: F32 | None = None) -> F32:
    """x @ weight.T + bias, summed in f32.

    x        [*, I]
    weight   [O, I]  outputs first, as checkpoints store them
    bias     [O]     or None
    returns  [*, O]
    """
    y = x @ weight.T
    return np.asarray(y if bias is None else y + bias)


def rms_norm(x: F32, *, weight: F32, eps: float) -> F32:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis.

    x        [*, W]
    weight   [W]
    returns  [*, W]

    Source: Zhang and Sennrich 2019, equation 4.
    """
    mean = np.mean(np.square(x), axis=-1, keepdims=True, dtype=np.float32)
    return np.asarray(x / np.sqrt(mean + np.float32(eps)) * weight)


def layer_norm(x: F32, *, weight: F32, bias: F32 | None = None, eps: float) -> F32:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis; the variance divides by W.

    x        [*, W]
    weight   [W]
    bias     [W]  or None
    returns  [*, W]

    Source: Ba, Kiros and Hinton 2016, equation 3.
    """
    centred = x - np.mean(x, axis=-1, keepdims=True, dtype=np.float32)
    variance = np.mean(np.square(centred), axis=-1, keepdims=True, dtype=np.float32)
    y = centred / np.sqrt(variance + np.float32(eps)) * weight
    return np.asarray(y if bias is None else y + bias)


def rope(
    x: F32,
    positions: I32,
    *,
    frequencies: tuple[float, ...],
    factor: float = 1.0,
    interleaved: bool = False,
) -> F32:
    """Rotate pairs of the first 2n of D by position * frequency; cos and sin are multiplied by factor.

    x            [T, H, D]
    positions    [P, T]  i32; plane 0 is read
    frequencies  [n]     radians per token; angles are f32 products
    interleaved  pairs are (2i, 2i + 1) instead of (i, i + n)
    returns      [T, H, D]

    Source: Su et al. 2021, equation 34; the half-split pairing is that of GPT-NeoX.
    """
    n = len(frequencies)
    angles = positions[0].astype(np.float32)[:, None] * np.array(frequencies, np.float32)
    cos = (np.cos(angles) * np.float32(factor))[:, None, :]
    sin = (np.sin(angles) * np.float32(factor))[:, None, :]
    first, second = (
        (slice(0, 2 * n, 2), slice(1, 2 * n, 2)) if interleaved else (slice(0, n), slice(n, 2 * n))
    )
    a, b = x[..., first], x[..., second]
    y = x.copy()
    y[..., first] = a * cos - b * sin
    y[..., second] = b * cos + a * sin
    return y


def kv_write(k: F32, v: F32, *, cache: Layer, step: Step) -> F32:
    """Put the step's keys and values where their positions belong.

    k      [T, K, D]
    v      [T, K, Dv]
    cache  the node's layer: position p of row r goes to block table[r, p // S], offset p % S
    returns  []: only the order between this and the reads after it

    Source: Kwon et al. 2023, section 4.
    """
    blocks, offsets = step.places(cache.group)
    cache.keys[blocks, offsets] = k
    cache.values[blocks, offsets] = v
    return np.zeros((), np.float32)


def attention(
    q: F32,
    written: F32,
    *,
    cache: Layer,
    step: Step,
    scale: float,
    kv_heads: int,
    value_width: int,
    window: int | None = None,
    soft_cap: float | None = None,
) -> F32:
    """Causal attention of the step's new tokens over the paged keys and values of their rows.

    q        [T, H, D]   rows packed end to end; H / K query heads in a row share a key head
    written  []          the kv_write before it
    cache    the node's layer, keys [B, S, K, D], values [B, S, K, Dv]
    window   tokens or None: query i sees key j iff 0 <= i - j < window
    soft_cap scores become soft_cap * tanh(score / soft_cap)
    returns  [T, H, Dv]

    Source: Vaswani et al. 2017, section 3.2; Ainslie et al. 2023 (grouped heads); Kwon et al. 2023, section 4.
    """
    return sink_attention(
        q,
        written,
        cache=cache,
        step=step,
        sinks=None,
        scale=scale,
        kv_heads=kv_heads,
        value_width=value_width,
        window=window,
        soft_cap=soft_cap,
    )


def sink_attention(
    q: F32,
    written: F32,
    *,
    cache: Layer,
    step: Step,
    sinks: F32 | None,
    scale: float,
    kv_heads: int,
    value_width: int,
    window: int | None = None,
    soft_cap: float | None = None,
) -> F32:
    """attention whose softmax has one more logit per head, which takes its weight without a value.

    sinks    [H], or None: attention
    returns  [T, H, Dv]

    Source: Xiao et al. 2023, section 3.
    """
    y = np.empty((*q.shape[:2], value_width), np.float32)
    for row in range(step.past.size):
        mine = slice(int(step.starts[row]), int(step.starts[row + 1]))
        past = int(step.past[row])
        first = 0 if window is None else max(0, past - window + 1)
        keys, values = _read(cache, step, row, first)
        places = np.arange(past, past + mine.stop - mine.start)
        distance = places[:, None] - np.arange(first, first + len(keys))
        hidden = distance < 0
        if window is not None:
            hidden |= distance >= window
        y[mine] = attend(q[mine], keys, values, hidden, scale, soft_cap, sinks)
    return y


def _read(cache: Layer, step: Step, row: int, first: int) -> tuple[F32, F32]:
    """Keys [c, K, D] and values [c, K, Dv] of a row, from position `first` to the end of the step."""
    size, end = step.block_size, step.end(row)
    begin = first // size
    blocks = step.tables[cache.group][row, begin : -(-end // size)]
    within = slice(first - begin * size, end - begin * size)
    keys, values = (
        array[blocks].reshape(-1, *array.shape[2:])[within].astype(np.float32, copy=False)
        for array in (cache.keys, cache.values)
    )
    return keys, values


def attention_write(
    q: F32,
    k: F32,
    v: F32,
    *,
    cache: Layer,
    step: Step,
    scale: float,
    window: int | None = None,
    soft_cap: float | None = None,
) -> F32:
    """kv_write, then attention.

    q, k, v  [T, H, D], [T, K, D], [T, K, Dv]
    returns  [T, H, Dv]
    """
    return attention(
        q,
        kv_write(k, v, cache=cache, step=step),
        cache=cache,
        step=step,
        scale=scale,
        kv_heads=k.shape[1],
        value_width=v.shape[2],
        window=window,
        soft_cap=soft_cap,
    )


def activation(x: F32, *, activation: str) -> F32:
    """Elementwise, any shape.

    silu       x / (1 + exp(-x))
    gelu       x / 2 * (1 + erf(x / sqrt 2))
    gelu_tanh  x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
    relu       max(x, 0)

    Source: Hendrycks and Gimpel 2016; Elfwing et al. 2017 (silu).
    """
    if activation == "silu":
        return np.asarray(x / (1 + np.exp(-x)))
    if activation == "gelu":
        return np.asarray(x / 2 * (1 + _ERF(x / ROOT_2).astype(np.float32)))
    if activation == "gelu_tanh":
        inner = np.float32(ROOT_2_PI) * (x + np.float32(0.044715) * x * x * x)
        return np.asarray(x / 2 * (1 + np.tanh(inner)))
    if activation == "relu":
        return np.maximum(x, 0)
    raise ValueError(f"activation is {activation!r}; expected silu, gelu, gelu_tanh or relu")


def gated_activation(gate: F32, up: F32, *, activation: str) -> F32:
    """activation(gate) * up; gate and up [*, F].

    Source: Shazeer 2020, section 2.
    """
    return np.asarray(_ACTIVATION(gate, activation=activation) * up)


def split_gated_activation(x: F32, *, activation: str) -> F32:
    """The first half of the last axis is gate, the second up: x [*, 2F] -> [*, F]."""
    gate, up = np.split(x, 2, axis=-1)
    return gated_activation(gate, up, activation=activation)


def add(a: F32, b: F32) -> F32:
    """a + b, equal shapes."""
    return np.asarray(a + b)


def mul(a: F32, b: F32) -> F32:
    """a * b, equal shapes."""
    return np.asarray(a * b)


def scale(x: F32, *, factor: float) -> F32:
    """x * factor."""
    return np.asarray(x * np.float32(factor))


def soft_cap(x: F32, *, cap: float) -> F32:
    """cap * tanh(x / cap)."""
    return np.asarray(np.tanh(x / np.float32(cap)) * np.float32(cap))


def split(x: F32, *, sizes: tuple[int, ...]) -> tuple[F32, ...]:
    """Consecutive pieces of the last axis: [*, W] -> one [*, size] per size; the sizes sum to W."""
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis=-1))


def reshape(x: F32, *, shape: tuple[int, ...]) -> F32:
    """The axes after the first become `shape`: [T, ...] -> [T, *shape]."""
    return x.reshape(len(x), *shape)


def take_rows(x: F32, rows: I32) -> F32:
    """x [T, E], rows [N] i32 -> [N, E]."""
    return np.asarray(x[rows])


def add_rms_norm(x: F32, residual: F32, *, weight: F32, eps: float) -> tuple[F32, F32]:
    """rms_norm(x + residual) and the sum itself, both [*, W]."""
    total = x + residual
    return rms_norm(total, weight=weight, eps=eps), total


_ACTIVATION = activation  # gated_activation has an argument of that name

_ALL: tuple[Callable[..., Any], ...] = (
    embed,
    linear,
    rms_norm,
    layer_norm,
    rope,
    kv_write,
    attention,
    attention_write,
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
    expert_ops.mixture,
    sink_attention,
    *mesh_ops.FUNCTIONS,
)
OPS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {function.__name__: function for function in _ALL}
)
"""Op -> its function."""

CACHED = frozenset({"kv_write", "attention", "attention_write", "sink_attention"})
"""Ops that get the cache of their layer and the step."""
