"""Paged keys and values in plain torch: scattered into their blocks, gathered for attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from dovetail.platform import I32
from torch import Tensor
from torch.nn import functional

from dovetail_sdk.runner import Layer, Step
from dovetail_sdk.torch.fp8 import movable, rounded, scaled
from dovetail_sdk.torch.step import DeviceStep

QUERIES_AT_ONCE = 256
"""New tokens of one row per call, which bounds the scores of a long prompt."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Some rows with equally many new tokens each, padded to one length of context.

    tokens   i32 [r * n]         places in q, row after row; None for all of them, in order
    blocks   i32 [r, c]          where each position of context is; padding repeats one that the row sees
    offsets  i32 [r, c]
    seen     bool [r, 1, n, c]   which keys a query sees
    """

    tokens: Tensor | None
    blocks: Tensor
    offsets: Tensor
    seen: Tensor


def kv_write(k: Tensor, v: Tensor, *, cache: Layer, step: DeviceStep) -> None:
    """Put the step's keys [T, K, D] and values [T, K, Dv] where their positions belong.

    cache  keys [B, S, K, D], values [B, S, K, Dv]: position p of row r goes to block table[r, p // S], offset p % S; in fp8
           with the scale that brings the largest of a token's head to the largest number there is

    Source: Kwon et al. 2023, section 4.
    """
    where = step.once(
        ("long places", cache.group), lambda: tuple(at.long() for at in step.places(cache.group))
    )
    for array, new, scales in zip(
        (cache.keys, cache.values), (k, v), cache.scales or (None, None), strict=True
    ):
        if scales is not None:
            new, each = scaled(new, array.dtype)
            scales.index_put_(where, each)
        movable(array).index_put_(where, movable(rounded(new, array.dtype)))


def attention(
    q: Tensor,
    written: object,
    *,
    cache: Layer,
    step: DeviceStep,
    scale: float,
    kv_heads: int,
    value_width: int,
    window: int | None = None,
    soft_cap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Causal attention of the step's new tokens over the paged keys and values of their rows.

    q        [T, H, D]   rows packed end to end; H / K query heads in a row share a key head
    cache    keys [B, S, K, D], values [B, S, K, Dv]
    window   tokens or None: query i sees key j iff 0 <= i - j < window
    soft_cap scores become soft_cap * tanh(score / soft_cap)
    sinks    [H] or None: logits that join each head's softmax and take their weight without a value
    returns  [T, H, Dv]  f32; rows with one new token are computed together, longer ones one by one

    Source: Vaswani et al. 2017, section 3.2; Ainslie et al. 2023 (grouped heads); Kwon et al. 2023, section 4.
    """
    tiles = step.once(("tiles", cache.group, window), lambda: tiles_of(step, cache.group, window))
    y = torch.empty(*q.shape[:2], value_width, dtype=torch.float32, device=q.device)
    for tile in tiles:
        at = (tile.blocks.long(), tile.offsets.long())
        keys, values = (read(cache, plane, at).transpose(1, 2) for plane in (0, 1))
        mine = q if tile.tokens is None else q.index_select(0, tile.tokens)
        mine = mine.float().reshape(len(tile.blocks), -1, *q.shape[1:]).transpose(1, 2)
        made = attend(mine, keys, values, tile.seen, scale, soft_cap, sinks)
        made = made.transpose(1, 2).reshape(-1, q.shape[1], value_width)
        if tile.tokens is None:
            return made
        y.index_copy_(0, tile.tokens.long(), made)
    return y


def read(cache: Layer, plane: int, at: tuple[Tensor, Tensor]) -> Tensor:
    """Keys (plane 0) or values (1) at blocks and offsets [r, c]: [r, c, K, D] f32."""
    array: Tensor = (cache.keys, cache.values)[plane]
    found = movable(array)[at].view(array.dtype).float()
    return found if cache.scales is None else found * cache.scales[plane][at][..., None]


def sink_attention(q: Tensor, written: object, *, sinks: Tensor, **given: Any) -> Tensor:
    """attention with sinks [H]: q [T, H, D] -> [T, H, Dv]; f32.

    Source: Xiao et al. 2023, section 3.
    """
    return attention(q, written, sinks=sinks, **given)


def attention_write(
    q: Tensor, k: Tensor, v: Tensor, *, cache: Layer, step: DeviceStep, **attributes: float
) -> Tensor:
    """kv_write, then attention: q [T, H, D], k [T, K, D], v [T, K, Dv] -> [T, H, Dv]."""
    kv_write(k, v, cache=cache, step=step)
    return attention(
        q,
        None,
        cache=cache,
        step=step,
        kv_heads=k.shape[1],
        value_width=v.shape[2],
        **attributes,  # type: ignore[arg-type]
    )


def attend(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    seen: Tensor,
    scale: float,
    soft_cap: float | None,
    sinks: Tensor | None = None,
) -> Tensor:
    """q [r, H, n, D], keys [r, K, c, D], values [r, K, c, Dv], seen [r, 1, n, c], sinks [H] -> [r, H, n, Dv]; f32."""
    r, heads, n, _ = q.shape
    grouped = q.reshape(r, keys.shape[1], -1, q.shape[3])  # [r, K, H / K * n, D]
    scores = (grouped @ keys.transpose(-1, -2)) * scale
    if soft_cap is not None:
        scores = torch.tanh(scores / soft_cap) * soft_cap
    scores = scores.view(r, heads, n, -1).masked_fill(~seen, float("-inf"))
    if sinks is not None:
        own = sinks.float()[None, :, None, None].expand(r, heads, n, 1)
        weights = functional.softmax(torch.cat([scores, own], dim=-1), dim=-1)[..., :-1]
    else:
        weights = functional.softmax(scores, dim=-1)
    weights = weights.reshape(grouped.shape[:3] + scores.shape[-1:])
    return (weights @ values).reshape(r, heads, n, -1)


def tiles_of(step: DeviceStep, group: int, window: int | None) -> list[Tile]:
    """All new tokens of the step, each in one tile."""
    if step.host is None:
        return [_captured(step, group, window)]
    lengths = np.diff(step.host.starts)
    single = np.flatnonzero(lengths == 1)
    if single.size == lengths.size:
        return [_tile(step, step.host, group, window, single, 0, 1, everything=True)]
    tiles = [_tile(step, step.host, group, window, single, 0, 1)] if single.size else []
    for row in np.flatnonzero(lengths > 1).tolist():
        for first in range(0, int(lengths[row]), QUERIES_AT_ONCE):
            count = min(QUERIES_AT_ONCE, int(lengths[row]) - first)
            tiles.append(_tile(step, step.host, group, window, np.array([row]), first, count))
    return tiles


def _tile(
    step: DeviceStep,
    host: Step,
    group: int,
    window: int | None,
    rows: np.ndarray[tuple[int], np.dtype[np.intp]],
    first: int,
    count: int,
    *,
    everything: bool = False,
) -> Tile:
    """New tokens first .. first + count of each row."""
    begin = host.past[rows][:, None] + first  # position of the first query
    queries = begin + np.arange(count)  # [r, n]
    start = np.zeros_like(begin) if window is None else np.maximum(begin - window + 1, 0)
    context = begin + count
    places = start + np.arange(int((context - start).max()))
    distance = queries[:, :, None] - places[:, None]
    seen = (distance >= 0) & (distance < (window or int(context.max()) + 1))
    places = np.minimum(places, context - 1)
    blocks = np.take_along_axis(host.tables[group][rows], places // host.block_size, axis=1)
    tokens: I32 = (host.starts[rows][:, None] + first + np.arange(count)).astype(np.int32)
    both = step.upload(np.stack([blocks, places % host.block_size]).astype(np.int32))
    return Tile(
        tokens=None if everything else step.upload(tokens.ravel()),
        blocks=both[0],
        offsets=both[1],
        seen=step.upload(seen[:, None].astype(np.int32)).bool(),
    )


def _captured(step: DeviceStep, group: int, window: int | None) -> Tile:
    """One new token of each row, whose context is known only when the captured step runs."""
    table, size = step.tables[group], step.block_size
    reach = table.shape[1] * size if window is None else min(window, table.shape[1] * size)
    last = step.past[:, None]
    places = last - torch.arange(reach - 1, -1, -1, device=last.device, dtype=torch.int32)
    seen = places >= 0
    places = places.clamp(min=0)
    blocks = table.gather(1, (places // size).long())
    return Tile(None, blocks, places % size, seen[:, None, None])
