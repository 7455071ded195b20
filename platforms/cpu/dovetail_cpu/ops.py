"""One function per op of the vocabulary: a node in, OpenVINO outputs out. Semantics are the op definitions of the core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import openvino as ov
from dovetail.graph import Node
from openvino import opset16 as ops

from . import whole
from .constants import constant
from .lowering import CacheWrite, Lowering, number, numbers, reshape

Lower = Callable[[Lowering, Node], list[ov.Output]]

_END = np.iinfo(np.int64).max

ACTIVATIONS: Mapping[str, Callable[[Any], ov.Node]] = {
    "silu": ops.swish,
    "gelu": lambda x: ops.gelu(x, "erf"),
    "gelu_tanh": lambda x: ops.gelu(x, "tanh"),
    "relu": ops.relu,
}


def embed(state: Lowering, node: Node) -> list[ov.Output]:
    (ids,) = state.inputs(node)
    table = state.weights.matrix(node.weights["table"])
    return _one(ops.gather(table, ids, constant(0, np.int64)))


def linear(state: Lowering, node: Node) -> list[ov.Output]:
    (x,) = state.inputs(node)
    weight = state.weights.matrix(node.weights["weight"])
    product = ops.matmul(x, weight, False, True)
    if bias := node.weights.get("bias"):
        product = ops.add(product, state.weights.vector(bias))
    return _one(product)


def rms_norm(state: Lowering, node: Node) -> list[ov.Output]:
    (x,) = state.inputs(node)
    return [_rms(state, node, x)]


def add_rms_norm(state: Lowering, node: Node) -> list[ov.Output]:
    x, residual = state.inputs(node)
    total = ops.add(x, residual).output(0)
    return [_rms(state, node, total), total]


def _rms(state: Lowering, node: Node, x: ov.Output) -> ov.Output:
    """x / sqrt(mean(x^2) + eps) * weight, spelt as the pattern that becomes one RMS kernel."""
    square = ops.reduce_mean(ops.power(x, constant(2, np.float32)), constant([-1], np.int64), True)
    root = ops.sqrt(ops.add(square, constant(number(node, "eps"), np.float32)))
    scaled = ops.multiply(x, ops.divide(constant(1, np.float32), root))
    return ops.multiply(state.weights.vector(node.weights["weight"]), scaled).output(0)


def layer_norm(state: Lowering, node: Node) -> list[ov.Output]:
    (x,) = state.inputs(node)
    eps = number(node, "eps")
    made = ops.mvn(x, constant([-1], np.int64), True, eps, "inside_sqrt")
    made = ops.multiply(made, state.weights.vector(node.weights["weight"]))
    if bias := node.weights.get("bias"):
        made = ops.add(made, state.weights.vector(bias))
    return _one(made)


def rope(state: Lowering, node: Node) -> list[ov.Output]:
    """Rotates the first 2 * n of D on [T, H, 1, D], the rank for which the pattern becomes one RoPE kernel."""
    x = state.value(node.inputs[0])
    frequencies = numbers(node, "frequencies")
    heads, width = state.width(node.inputs[0], 1), state.width(node.inputs[0], 2)
    rotated = 2 * len(frequencies)
    tables = state.rotary_tables(node.inputs[1], frequencies, number(node, "factor", 1.0))
    turned = reshape(_slice(x, 2, 0, rotated) if rotated < width else x, [-1, heads, 1, rotated])
    if node.attributes.get("interleaved"):
        turned = _pairs_to_halves(turned, heads, rotated)
    turned = _rotate(turned, *tables, rotated // 2)
    if node.attributes.get("interleaved"):
        turned = _halves_to_pairs(turned, heads, rotated)
    turned = reshape(turned, [-1, heads, rotated])
    if rotated == width:
        return [turned]
    return _one(ops.concat([turned, _slice(x, 2, rotated, _END)], -1))


def _rotate(x: ov.Output, cos: ov.Output, sin: ov.Output, half: int) -> ov.Output:
    """x * cos + (-x2, x1) * sin. The concat's axis must be a literal -1: OpenVINO's pattern compares it so, and
    an unfused rotation would take its angles in 16 bits."""
    minus = ops.multiply(_slice(x, 3, half, _END), constant(-1, np.float32))
    turned = ops.concat([minus, _slice(x, 3, 0, half)], -1)
    return ops.add(ops.multiply(x, cos), ops.multiply(turned, sin)).output(0)


def _pairs_to_halves(x: ov.Output, heads: int, width: int) -> ov.Output:
    """(0, 1, 2, 3, ...) to (0, 2, ..., 1, 3, ...) along the last axis of [T, H, 1, width]."""
    pairs = reshape(x, [-1, heads, width // 2, 2])
    turned = ops.transpose(pairs, constant([0, 1, 3, 2], np.int64)).output(0)
    return reshape(turned, [-1, heads, 1, width])


def _halves_to_pairs(x: ov.Output, heads: int, width: int) -> ov.Output:
    halves = reshape(x, [-1, heads, 2, width // 2])
    turned = ops.transpose(halves, constant([0, 1, 3, 2], np.int64)).output(0)
    return reshape(turned, [-1, heads, 1, width])


def kv_write(state: Lowering, node: Node) -> list[ov.Output]:
    """Held back: OpenVINO writes the cache in the attention that reads it."""
    key, value = state.inputs(node)
    state.written[node.outputs[0]] = CacheWrite(key, value)
    return [key]


def attention(state: Lowering, node: Node) -> list[ov.Output]:
    query = state.value(node.inputs[0])
    kv_heads = int(number(node, "kv_heads"))
    return [state.attend(node, query, state.written[node.inputs[1]], kv_heads)]


def attention_write(state: Lowering, node: Node) -> list[ov.Output]:
    query, key, value = state.inputs(node)
    kv_heads = state.width(node.inputs[1], 1)
    return [state.attend(node, query, CacheWrite(key, value), kv_heads)]


def gated_activation(state: Lowering, node: Node) -> list[ov.Output]:
    gate, up = state.inputs(node)
    return _one(ops.multiply(_activate(node, gate), up))


def split_gated_activation(state: Lowering, node: Node) -> list[ov.Output]:
    (x,) = state.inputs(node)
    half = state.width(node.inputs[0], -1) // 2
    gate, up = _split(x, [half, half])
    return _one(ops.multiply(_activate(node, gate), up))


def activation(state: Lowering, node: Node) -> list[ov.Output]:
    (x,) = state.inputs(node)
    return _one(_activate(node, x))


def add(state: Lowering, node: Node) -> list[ov.Output]:
    return _one(ops.add(*state.inputs(node)))


def mul(state: Lowering, node: Node) -> list[ov.Output]:
    return _one(ops.multiply(*state.inputs(node)))


def scale(state: Lowering, node: Node) -> list[ov.Output]:
    (x,) = state.inputs(node)
    return _one(ops.multiply(x, constant(number(node, "factor"), np.float32)))


def soft_cap(state: Lowering, node: Node) -> list[ov.Output]:
    (x,) = state.inputs(node)
    cap = constant(number(node, "cap"), np.float32)
    return _one(ops.multiply(ops.tanh(ops.divide(x, cap)), cap))


def split(state: Lowering, node: Node) -> list[ov.Output]:
    (x,) = state.inputs(node)
    return _split(x, [int(size) for size in numbers(node, "sizes")])


def reshape_trailing(state: Lowering, node: Node) -> list[ov.Output]:
    (x,) = state.inputs(node)
    return [reshape(x, [-1, *(int(length) for length in numbers(node, "shape"))])]


def take_rows(state: Lowering, node: Node) -> list[ov.Output]:
    x, rows = state.inputs(node)
    return _one(ops.gather(x, rows, constant(0, np.int64)))


def _activate(node: Node, x: ov.Output) -> ov.Node:
    return ACTIVATIONS[str(node.attributes["activation"])](x)


def _split(x: ov.Output, sizes: list[int]) -> list[ov.Output]:
    parts = ops.variadic_split(x, constant(-1, np.int64), constant(sizes, np.int64))
    return [parts.output(index) for index in range(len(sizes))]


def _slice(x: ov.Output, axis: int, start: int, stop: int) -> ov.Output:
    bounds = (constant([number], np.int64) for number in (start, stop, 1, axis))
    return ops.slice(x, *bounds).output(0)


def _one(node: ov.Node) -> list[ov.Output]:
    return [node.output(0)]


LOWERINGS: Mapping[str, Lower] = {
    "embed": embed,
    "linear": linear,
    "rms_norm": rms_norm,
    "layer_norm": layer_norm,
    "rope": rope,
    "kv_write": kv_write,
    "attention": attention,
    "attention_write": attention_write,
    "gated_activation": gated_activation,
    "split_gated_activation": split_gated_activation,
    "activation": activation,
    "add": add,
    "mul": mul,
    "scale": scale,
    "soft_cap": soft_cap,
    "split": split,
    "reshape": reshape_trailing,
    "take_rows": take_rows,
    "add_rms_norm": add_rms_norm,
    "embed_positions": whole.embed_positions,
    "whole_attention": whole.whole_attention,
    "mean_rows": whole.mean_rows,
    "tanh": whole.tanh,
}
