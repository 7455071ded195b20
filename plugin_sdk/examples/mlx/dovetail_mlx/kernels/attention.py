"""Paged keys and values: scattered into their blocks, gathered for attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from dovetail_sdk.runner import Layer, Step

QUERIES_AT_ONCE = 256
"""New tokens of one row per call, which bounds the scores of a long prompt."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Some rows with equally many new tokens each, padded to one length of context.

    tokens   i32 [r * n]         places in q, row after row
    rows     r
    blocks   i32 [r, c]          where each position of context is; padding repeats a row's last one
    offsets  i32 [r, c]
    seen     bool [r, 1, n, c]   which keys a query sees
    """

    tokens: mx.array
    rows: int
    blocks: mx.array
    offsets: mx.array
    seen: mx.array


def kv_write(k: mx.array, v: mx.array, *, cache: Layer, step: Step) -> None:
    """Put the step's keys [T, K, D] and values [T, K, Dv] where their positions belong.

    cache  keys [B, S, K, D], values [B, S, K, Dv]: position p of row r goes to block table[r, p // S], offset p % S
    """

    def places() -> tuple[mx.array, mx.array]:
        blocks, offsets = step.places(cache.group)
        return mx.array(blocks), mx.array(offsets.astype(np.int32))

    where = step.once(("places", cache.group), places)
    cache.keys[where] = k.astype(cache.keys.dtype)
    cache.values[where] = v.astype(cache.values.dtype)


def attention(
    q: mx.array,
    written: object,
    *,
    cache: Layer,
    step: Step,
    scale: float,
    kv_heads: int,
    value_width: int,
    window: int | None = None,
    soft_cap: float | None = None,
) -> mx.array:
    """Causal attention of the step's new tokens over the paged keys and values of their rows.

    q        [T, H, D]   rows packed end to end; H / K query heads in a row share a key head
    cache    keys [B, S, K, D], values [B, S, K, Dv]
    window   tokens or None: query i sees key j iff 0 <= i - j < window
    returns  [T, H, Dv]  f32; rows with one new token are computed together, longer ones one by one
    """
    tiles = step.once(("tiles", cache.group, window), lambda: _tiles(step, cache.group, window))
    parts = []
    for tile in tiles:
        keys, values = (
            array[tile.blocks, tile.offsets].astype(mx.float32).swapaxes(1, 2)
            for array in (cache.keys, cache.values)
        )  # [r, K, c, D]
        mine = q[tile.tokens].astype(mx.float32).reshape(tile.rows, -1, *q.shape[1:])
        mine = mine.swapaxes(1, 2)  # [r, H, n, D]
        if soft_cap is None:
            y = mx.fast.scaled_dot_product_attention(
                mine, keys, values, scale=scale, mask=tile.seen
            )
        else:
            y = _capped(mine, keys, values, tile.seen, scale, soft_cap)
        parts.append(y.swapaxes(1, 2).reshape(-1, q.shape[1], value_width))
    order = step.once(("order", cache.group, window), lambda: _order(tiles))
    return mx.concatenate(parts)[order]


def _capped(
    q: mx.array, keys: mx.array, values: mx.array, seen: mx.array, scale: float, soft_cap: float
) -> mx.array:
    """Attention whose scores become soft_cap * tanh(score / soft_cap), which MLX's own kernel cannot."""
    r, heads, n, _ = q.shape
    grouped = q.reshape(r, keys.shape[1], -1, n, q.shape[3])  # [r, K, H / K, n, D]
    scores = grouped @ keys[:, :, None].swapaxes(-1, -2) * scale
    scores = mx.tanh(scores / soft_cap) * soft_cap
    scores = mx.where(seen[:, :, None], scores, -mx.inf)
    y = mx.softmax(scores, axis=-1) @ values[:, :, None]
    return y.reshape(r, heads, n, -1)


def _tiles(step: Step, group: int, window: int | None) -> list[Tile]:
    """All new tokens of the step, each in one tile."""
    lengths = np.diff(step.starts)
    single = [row for row in range(lengths.size) if lengths[row] == 1]
    tiles = [_tile(step, group, window, single, 0, 1)] if single else []
    for row in range(lengths.size):
        if lengths[row] > 1:
            for first in range(0, int(lengths[row]), QUERIES_AT_ONCE):
                count = min(QUERIES_AT_ONCE, int(lengths[row]) - first)
                tiles.append(_tile(step, group, window, [row], first, count))
    return tiles


def _tile(
    step: Step, group: int, window: int | None, rows: Sequence[int], first: int, count: int
) -> Tile:
    """New tokens first .. first + count of each row."""
    begin = step.past[rows][:, None] + first  # position of the first query
    queries = begin + np.arange(count)  # [r, n]
    start = np.zeros_like(begin) if window is None else np.maximum(begin - window + 1, 0)
    ends = np.array([step.end(row) for row in rows])[:, None]
    context = np.minimum(begin + count, ends)
    places = start + np.arange(int((context - start).max()))
    distance = queries[:, :, None] - places[:, None]
    seen = (distance >= 0) & (distance < (window or int(context.max()) + 1))
    places = np.minimum(places, context - 1)
    blocks = np.take_along_axis(step.tables[group][rows], places // step.block_size, axis=1)
    return Tile(
        tokens=mx.array((step.starts[rows][:, None] + first + np.arange(count)).ravel()),
        rows=len(rows),
        blocks=mx.array(blocks),
        offsets=mx.array((places % step.block_size).astype(np.int32)),
        seen=mx.array(seen[:, None]),
    )


def _order(tiles: Sequence[Tile]) -> mx.array:
    """Where each token of the step is in the tiles' results, one after the other."""
    return mx.argsort(mx.concatenate([tile.tokens for tile in tiles]))
