"""Matrix products and paged attention. Arrays are f32; names and order of arguments are those of the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from dovetail.graph import Graph, Node
from dovetail.platform import F32
from dovetail_sdk.runner import Layer, NodeWeights, Step
from numpy.typing import NDArray

OUTPUTS_AT_ONCE = 512
KEYS_AT_ONCE = 128


def pack_linear(weights: NodeWeights) -> Mapping[str, Any]:
    """int8 stays int8 in memory; other forms become f32."""
    packed = {"bias": weights.array("bias")} if "bias" in weights else {}
    if weights.form("weight").kind != "int8_channel":
        return {**packed, "weight": weights.array("weight")}
    return {**packed, "weight": weights.read("weight"), "scale": weights.read("weight", "scale")}


def linear(
    x: F32, *, weight: NDArray[Any], bias: F32 | None = None, scale: F32 | None = None
) -> F32:
    """x @ weight.T * scale + bias.

    x        [*, I]
    weight   [O, I]  f32, or i8 with a scale
    bias     [O]     or None
    scale    [O]     or None
    returns  [*, O]
    """
    y = np.empty((*x.shape[:-1], len(weight)), np.float32)
    for start in range(0, len(weight), OUTPUTS_AT_ONCE):
        tile = weight[start : start + OUTPUTS_AT_ONCE].astype(np.float32, copy=False)
        y[..., start : start + OUTPUTS_AT_ONCE] = x @ tile.T
    if scale is not None:
        y *= scale
    return y if bias is None else np.asarray(y + bias)


def whole_heads(node: Node, graph: Graph) -> str | None:
    """Shows how a kernel refuses; every graph that the core makes passes."""
    heads = graph.values[node.inputs[0]].shape[1]
    kv_heads = node.attributes["kv_heads"]
    assert isinstance(heads, int) and isinstance(kv_heads, int)
    return f"{heads} heads over {kv_heads} key heads" if heads % kv_heads else None


def attention(
    q: F32,
    written: object,
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
    cache    keys [B, S, K, D], values [B, S, K, Dv]
    window   tokens or None: query i sees key j iff 0 <= i - j < window
    returns  [T, H, Dv]

    Source: Milakov and Gimelshein 2018, algorithm 3 (the running maximum); Kwon et al. 2023, section 4 (paging).
    """
    y = np.empty((*q.shape[:2], value_width), np.float32)
    for row in range(step.past.size):
        mine = slice(int(step.starts[row]), int(step.starts[row + 1]))
        places = np.arange(step.past[row], step.end(row))[:, None]  # [n, 1] of the queries
        grouped = q[mine].reshape(len(places), kv_heads, -1, q.shape[2]).transpose(1, 2, 0, 3)
        peak = np.full((*grouped.shape[:3], 1), -np.inf, np.float32)  # [K, H / K, n, 1]
        total, mixed = np.zeros_like(peak), np.zeros((*grouped.shape[:3], value_width), np.float32)
        for first, keys, values in _tiles(cache, step, row, window):
            distance = places - np.arange(first, first + keys.shape[2])
            seen = (distance >= 0) & (distance < (window or step.end(row)))
            scores = grouped @ keys.swapaxes(2, 3) * np.float32(scale)
            if soft_cap is not None:
                scores = np.tanh(scores / np.float32(soft_cap)) * np.float32(soft_cap)
            scores = np.where(seen, scores, np.float32(-np.inf))
            higher = np.maximum(peak, scores.max(axis=-1, keepdims=True))
            base = np.where(higher == -np.inf, np.float32(0), higher)
            weights, kept = np.exp(scores - base), np.exp(peak - base)
            total = total * kept + weights.sum(axis=-1, keepdims=True)
            mixed, peak = mixed * kept + weights @ values, higher
        y[mine] = (mixed / total).transpose(2, 0, 1, 3).reshape(y[mine].shape)
    return y


def _tiles(
    cache: Layer, step: Step, row: int, window: int | None
) -> Iterator[tuple[int, F32, F32]]:
    """(position of the first, keys [K, 1, c, D], values [K, 1, c, Dv]) over all that the row's new tokens see."""
    table, size = step.tables[cache.group][row], step.block_size
    first = 0 if window is None else max(0, int(step.past[row]) - window + 1)
    for start in range(first, step.end(row), KEYS_AT_ONCE):
        places = np.arange(start, min(start + KEYS_AT_ONCE, step.end(row)))
        where = table[places // size], places % size
        keys, values = (
            array[where].astype(np.float32, copy=False).swapaxes(0, 1)[:, None]
            for array in (cache.keys, cache.values)
        )
        yield start, keys, values
