"""Ops of encoders: rows packed end to end, attended to whole.

OpenVINO's paged attention only looks back, so attention here is its scaled dot product attention on rows padded to the
step's longest one. Only attention is padded; everything else stays packed. What pads a row are copies of its own last
token, masked: nothing of another row can get in, NaN included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov
from dovetail.graph import Node
from openvino import opset16 as ops

from .constants import constant
from .lowering import Lowering, number, reshape

_END = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Rows:
    """A step's rows as tables that all layers share.

    index    [R, L]  i32   the token at each place; past a row's end its last one
    valid    [R, L]  bool  places that are not padding
    places   [T]     i64   where each token is in [R * L]
    lengths  [R, 1]  i32
    """

    index: ov.Output
    valid: ov.Output
    places: ov.Output
    lengths: ov.Output


def rows_of(state: Lowering, row_starts: str) -> Rows:
    """Made once for a graph."""
    found = state.shared.get(("rows", row_starts))
    if found is None:
        found = state.shared["rows", row_starts] = _rows(state.value(row_starts))
    assert isinstance(found, Rows)
    return found


def _rows(row_starts: ov.Output) -> Rows:
    zero, one = constant(0, np.int32), constant(1, np.int32)
    starts, ends = _cut(row_starts, 0, -1), _cut(row_starts, 1, _END)
    lengths = reshape(ops.subtract(ends, starts).output(0), [-1, 1])
    longest = ops.squeeze(ops.reduce_max(lengths, constant([0, 1], np.int64), True))
    place = ops.range(zero, longest, one, "i32")
    within = ops.minimum(place, ops.subtract(lengths, one))
    valid = ops.less(place, lengths).output(0)
    places = ops.non_zero(reshape(valid, [-1]), "i64")
    return Rows(
        ops.add(reshape(starts, [-1, 1]), within).output(0),
        valid,
        ops.squeeze(places, constant(0, np.int64)).output(0),
        lengths,
    )


def whole_attention(state: Lowering, node: Node) -> list[ov.Output]:
    rows = rows_of(state, node.inputs[3])
    heads, kv_heads = state.width(node.inputs[0], 1), state.width(node.inputs[1], 1)
    query, key, value = (_padded(state.value(name), rows) for name in node.inputs[:3])
    if heads != kv_heads:
        width, value_width = state.width(node.inputs[1], 2), state.width(node.inputs[2], 2)
        key = _repeated(key, kv_heads, heads // kv_heads, width)
        value = _repeated(value, kv_heads, heads // kv_heads, value_width)
    reach = node.attributes.get("reach")
    mask = _mask(state, node.inputs[3], rows, reach if isinstance(reach, int) else None)
    scale = constant(number(node, "scale"), np.float32)
    made = ops.scaled_dot_product_attention(query, key, value, mask, scale)
    value_width = state.width(node.inputs[2], 2)
    back = ops.transpose(made, constant([0, 2, 1, 3], np.int64)).output(0)
    flat = reshape(back, [-1, heads * value_width])
    packed = ops.gather(flat, rows.places, constant(0, np.int64)).output(0)
    return [reshape(packed, [-1, heads, value_width])]


def _padded(x: ov.Output, rows: Rows) -> ov.Output:
    """[T, H, D] -> [R, H, L, D]."""
    gathered = ops.gather(x, rows.index, constant(0, np.int64))
    return ops.transpose(gathered, constant([0, 2, 1, 3], np.int64)).output(0)


def _repeated(x: ov.Output, kv_heads: int, times: int, width: int) -> ov.Output:
    """[R, K, L, D] -> [R, K * times, L, D]: consecutive query heads share a key head."""
    apart = ops.unsqueeze(x, constant(2, np.int64))
    tiled = ops.tile(apart, constant([1, 1, times, 1, 1], np.int64)).output(0)
    shape = ops.concat(
        [
            ops.gather(ops.shape_of(x), constant([0], np.int64), constant(0, np.int64)),
            constant([kv_heads * times], np.int64),
            ops.gather(ops.shape_of(x), constant([2], np.int64), constant(0, np.int64)),
            constant([width], np.int64),
        ],
        0,
    )
    return ops.reshape(tiled, shape, False).output(0)


def _mask(state: Lowering, row_starts: str, rows: Rows, reach: int | None) -> ov.Output:
    """Bool, [R, 1, 1, L], or [R, 1, L, L] with a reach; the same one for all layers that want it."""
    key = ("mask", row_starts, reach)
    found = state.shared.get(key)
    if found is None:
        found = state.shared[key] = _new_mask(rows, reach)
    assert isinstance(found, ov.Output)
    return found


def _new_mask(rows: Rows, reach: int | None) -> ov.Output:
    valid = ops.unsqueeze(rows.valid, constant([1, 2], np.int64)).output(0)
    if reach is None:
        return valid
    length = ops.gather(
        ops.shape_of(rows.valid, "i32"), constant(1, np.int64), constant(0, np.int64)
    )
    place = ops.range(constant(0, np.int32), length, constant(1, np.int32), "i32").output(0)
    distance = ops.abs(ops.subtract(reshape(place, [-1, 1]), reshape(place, [1, -1])))
    near = ops.less_equal(distance, constant(reach, np.int32))
    return ops.logical_and(valid, near).output(0)


def mean_rows(state: Lowering, node: Node) -> list[ov.Output]:
    """Rows are summed padded, with padding weighted 0, then those that were asked for are taken."""
    x, wanted = state.value(node.inputs[0]), state.value(node.inputs[2])
    rows = rows_of(state, node.inputs[1])
    padded = ops.gather(x, rows.index, constant(0, np.int64))
    weight = ops.unsqueeze(ops.convert(rows.valid, "f32"), constant(2, np.int64))
    total = ops.reduce_sum(ops.multiply(padded, weight), constant([1], np.int64))
    means = ops.divide(total, ops.convert(rows.lengths, "f32"))
    ends = _cut(state.value(node.inputs[1]), 1, _END)
    before = ops.less_equal(reshape(ends, [1, -1]), reshape(wanted, [-1, 1]))
    owners = ops.reduce_sum(ops.convert(before, "i32"), constant([1], np.int64))
    return [ops.gather(means, owners, constant(0, np.int64)).output(0)]


def embed_positions(state: Lowering, node: Node) -> list[ov.Output]:
    positions = ops.gather(
        state.value(node.inputs[0]), constant(0, np.int64), constant(0, np.int64)
    )
    offset = int(number(node, "offset", 0))
    places = ops.add(positions, constant(offset, np.int32)) if offset else positions
    table = state.weights.matrix(node.weights["table"])
    return [ops.gather(table, places, constant(0, np.int64)).output(0)]


def tanh(state: Lowering, node: Node) -> list[ov.Output]:
    return [ops.tanh(state.value(node.inputs[0])).output(0)]


def _cut(x: ov.Output, start: int, stop: int) -> ov.Output:
    bounds = (constant([number], np.int64) for number in (start, stop, 1, 0))
    return ops.slice(x, *bounds).output(0)
