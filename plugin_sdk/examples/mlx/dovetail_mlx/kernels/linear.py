"""Matrix products with dense, int8 and int4 weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import numpy as np
from dovetail_sdk.runner import NodeWeights

from .weights import dense

GROUPS = (128, 64, 32)
"""Inputs that may share a scale in mx.quantized_matmul, fewest scales first."""


def pack_linear(weights: NodeWeights) -> Mapping[str, Any]:
    """int8 and int4 stay packed where mx.quantized_matmul knows the group; everything else becomes dense."""
    packed: dict[str, Any] = {"bias": dense(weights, "bias")} if "bias" in weights else {}
    form = weights.form("weight")
    if form.kind == "int4_group" and form.group in GROUPS:
        return packed | _int4(weights, form.group)
    inputs = weights.graph.weights[weights.node.weights["weight"]].shape[1]
    group = next((group for group in GROUPS if inputs % group == 0), 0)
    if form.kind == "int8_channel" and group:
        return packed | _int8(weights, group, inputs)
    return packed | {"weight": dense(weights, "weight")}


def linear(
    x: mx.array,
    *,
    weight: mx.array,
    bias: mx.array | None = None,
    scales: mx.array | None = None,
    offsets: mx.array | None = None,
    bits: int = 0,
    group: int = 0,
) -> mx.array:
    """x @ weight.T + bias, summed in f32.

    x        [*, I]
    weight   [O, I], or u32 [O, I * bits / 32] with scales and offsets f32 [O, I / group]: w = data * scale + offset
    bias     [O]     or None
    returns  [*, O]
    """
    if scales is None:
        y = x @ weight.T
    else:
        y = mx.quantized_matmul(
            x.astype(mx.float32), weight, scales, offsets, group_size=group, bits=bits
        )
    return y if bias is None else y + bias


def _int4(weights: NodeWeights, group: int) -> dict[str, Any]:
    """Both have the first input in the lowest bits: four bytes are one word."""
    scale = weights.read("weight", "scale").astype(np.float32)
    zero = weights.read("weight", "zero").astype(np.float32)
    return _quantised(weights.read("weight"), scale, -zero * scale, group, bits=4)


def _int8(weights: NodeWeights, group: int, inputs: int) -> dict[str, Any]:
    """MLX's numbers have no sign: they are moved up by 128, and every group of a row has the row's scale."""
    data = (weights.read("weight").astype(np.int16) + 128).astype(np.uint8)
    scale = weights.read("weight", "scale").astype(np.float32)
    scales = np.repeat(scale[:, None], inputs // group, axis=1)
    return _quantised(data, scales, -128 * scales, group, bits=8)


def _quantised(
    data: np.ndarray[Any, Any],
    scales: np.ndarray[Any, Any],
    offsets: np.ndarray[Any, Any],
    group: int,
    bits: int,
) -> dict[str, Any]:
    words = np.ascontiguousarray(data, np.uint8).view("<u4")
    return {
        "weight": mx.array(words),
        "scales": mx.array(scales),
        "offsets": mx.array(offsets),
        "bits": bits,
        "group": group,
    }
