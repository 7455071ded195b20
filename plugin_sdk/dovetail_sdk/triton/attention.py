"""Attention over the paged cache, for any mix of rows.

A row's new tokens times the query heads of one key head are the rows of a matrix tile: grouped heads share every key
that is read. Rows of few tokens ("narrow") are split over their context, and a second kernel joins the parts; rows of
many tokens ("wide") are cut into tiles that see their whole context. Which tiles there are is a plan, made once per
step and cache group (plan.py).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import ceil_div, launch, power_of_two
from .plan import Plan, Tiles

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _fold(
    acc, total, peak, queries, keys, values, key_scales, value_scales, table, block_stride,
    token_stride, value_block_stride, value_token_stride, scale_stride, places, begin, end, context,
    scale, soft_cap, window,
    D: tl.constexpr, DP: tl.constexpr, DV: tl.constexpr, DVP: tl.constexpr, S: tl.constexpr,
    TILE: tl.constexpr, MASKED: tl.constexpr, WINDOWED: tl.constexpr, CAPPED: tl.constexpr,
    SCALED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Fold keys begin:end into the running softmax of a tile; begin is a multiple of TILE, end too unless MASKED.

    acc [M, DVP], total [M], peak [M] f32 (peak in units of log2); keys, values and scales point at the
    head, scales of neighbouring tokens lie scale_stride apart.
    """
    width = tl.arange(0, DP)
    value_width = tl.arange(0, DVP)
    for first in tl.range(begin, end, TILE):
        place = first + tl.arange(0, TILE)
        if S % TILE == 0:
            block = tl.load(table + first // S).to(tl.int64)
            inside = place % S
            key_at = keys + block * block_stride + inside * token_stride
            value_at = values + block * value_block_stride + inside * value_token_stride
            scale_at = (block * S + inside) * scale_stride
        else:
            blocks = tl.load(table + place // S, mask=place < context, other=0).to(tl.int64)
            inside = place % S
            key_at = keys + blocks * block_stride + inside * token_stride
            value_at = values + blocks * value_block_stride + inside * value_token_stride
            scale_at = (blocks * S + inside) * scale_stride
        there = place < context
        if D == DP:
            if MASKED:
                k = tl.load(key_at[None, :] + width[:, None], mask=there[None, :], other=0.0)
            else:
                k = tl.load(key_at[None, :] + width[:, None])
        else:
            k = tl.load(
                key_at[None, :] + width[:, None],
                mask=there[None, :] & (width[:, None] < D),
                other=0.0,
            )
        scores = tl.dot(queries, k.to(queries.dtype), input_precision=PRECISION)
        if SCALED:
            scores *= tl.load(key_scales + scale_at, mask=there, other=0.0)[None, :]
        if CAPPED:
            # tanh by the exponential of a number that is not positive, which cannot overflow
            ratio = scores * (scale / soft_cap)
            fall = tl.exp(-2.0 * tl.abs(ratio))
            bent = (1.0 - fall) / (1.0 + fall)
            scores = tl.where(ratio < 0, -bent, bent) * (soft_cap * LOG2_E)
        else:
            scores = scores * (scale * LOG2_E)
        if MASKED:
            seen = there[None, :] & (place[None, :] <= places[:, None])
            if WINDOWED:
                seen = seen & (places[:, None] - place[None, :] < window)
            scores = tl.where(seen, scores, float("-inf"))
        higher = tl.maximum(peak, tl.max(scores, 1))
        # a query that has seen no key yet has no peak to subtract
        base = tl.where(higher == float("-inf"), 0.0, higher) if MASKED else higher
        weights = tl.exp2(scores - base[:, None])
        fade = tl.exp2(peak - base)
        total = total * fade + tl.sum(weights, 1)
        if DV == DVP and not MASKED:
            v = tl.load(value_at[:, None] + value_width[None, :])
        else:
            v = tl.load(
                value_at[:, None] + value_width[None, :],
                mask=there[:, None] & (value_width[None, :] < DV),
                other=0.0,
            )
        if SCALED:
            weights *= tl.load(value_scales + scale_at, mask=there, other=0.0)[None, :]
        acc = acc * fade[:, None]
        acc = tl.dot(weights.to(queries.dtype), v.to(queries.dtype), acc, input_precision=PRECISION)
        peak = higher
    return acc, total, peak


@triton.jit(
    do_not_specialize=["table_stride", "window", "splits"],
    do_not_specialize_on_alignment=["table", "tiles", "starts", "past"],
)
def _attention(
    q, keys, values, key_scales, value_scales, sinks, table, starts, past, tiles, y, part_sums,
    part_peaks,
    scale, soft_cap, window, splits, table_stride,
    q_token_stride, q_head_stride, block_stride, token_stride, head_stride,
    value_block_stride, value_token_stride, value_head_stride, scale_stride,
    H: tl.constexpr, G: tl.constexpr, GB: tl.constexpr, Q: tl.constexpr, M: tl.constexpr,
    D: tl.constexpr, DP: tl.constexpr, DV: tl.constexpr, DVP: tl.constexpr, S: tl.constexpr,
    TILE: tl.constexpr, SPLIT: tl.constexpr, WINDOWED: tl.constexpr, CAPPED: tl.constexpr,
    SINKS: tl.constexpr, SCALED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Grid (tiles, K * ceil(G / GB), splits). M rows of a tile: Q tokens times GB heads, heads fastest."""
    tile = tl.program_id(0)
    parts: tl.constexpr = (G + GB - 1) // GB
    kv_head = tl.program_id(1) // parts
    first_head = tl.program_id(1) % parts * GB
    split = tl.program_id(2)
    row = tl.load(tiles + 2 * tile)
    if row < 0:
        return
    first = tl.load(tiles + 2 * tile + 1)
    start = tl.load(starts + row)
    new = tl.load(starts + row + 1) - start
    before = tl.load(past + row)
    lane = tl.arange(0, M)
    token = first + lane // GB
    member = first_head + lane % GB
    valid = (lane < Q * GB) & (token < new) & (member < G)
    head = kv_head * G + member
    width = tl.arange(0, DP)
    q_at = (start + token).to(tl.int64) * q_token_stride + head * q_head_stride
    queries = tl.load(
        q + q_at[:, None] + width[None, :], mask=valid[:, None] & (width[None, :] < D), other=0.0
    )
    places = before + token
    context = before + tl.minimum(first + Q, new)
    begin = 0
    if WINDOWED:
        begin = tl.maximum(before + first - window + 1, 0) // TILE * TILE
    end = context
    if SPLIT:
        share = tl.cdiv(tl.cdiv(end - begin, TILE), splits) * TILE
        begin = begin + split * share
        end = tl.minimum(begin + share, end)
    # every query of the tile sees all keys of whole_begin:whole_end
    whole_end = tl.minimum((before + first + 1) // TILE * TILE, end // TILE * TILE)
    whole_begin = begin
    if WINDOWED:
        lowest = tl.cdiv(tl.maximum(context - window, 0), TILE) * TILE
        whole_begin = tl.minimum(tl.maximum(begin, lowest), tl.maximum(end, begin))
    whole_end = tl.maximum(whole_begin, whole_end)

    acc = tl.zeros([M, DVP], tl.float32)
    peak = tl.full([M], float("-inf"), tl.float32)
    total = tl.zeros([M], tl.float32)
    if SINKS:
        if split == 0:
            peak = tl.load(sinks + head, mask=valid, other=0.0).to(tl.float32) * LOG2_E
            total = tl.full([M], 1.0, tl.float32)
    keys += kv_head.to(tl.int64) * head_stride
    values += kv_head.to(tl.int64) * value_head_stride
    key_scales += kv_head
    value_scales += kv_head
    table += row.to(tl.int64) * table_stride
    if WINDOWED:
        acc, total, peak = _fold(
            acc, total, peak, queries, keys, values, key_scales, value_scales, table, block_stride,
            token_stride, value_block_stride, value_token_stride, scale_stride, places, begin,
            tl.minimum(whole_begin, end), context, scale, soft_cap, window,
            D, DP, DV, DVP, S, TILE, True, True, CAPPED, SCALED, PRECISION,
        )  # fmt: skip
    acc, total, peak = _fold(
        acc, total, peak, queries, keys, values, key_scales, value_scales, table, block_stride,
        token_stride, value_block_stride, value_token_stride, scale_stride, places, whole_begin, whole_end,
        context, scale, soft_cap, window, D, DP, DV, DVP, S, TILE, False, WINDOWED, CAPPED, SCALED, PRECISION,
    )  # fmt: skip
    acc, total, peak = _fold(
        acc, total, peak, queries, keys, values, key_scales, value_scales, table, block_stride,
        token_stride, value_block_stride, value_token_stride, scale_stride, places, whole_end, end,
        context, scale, soft_cap, window, D, DP, DV, DVP, S, TILE, True, WINDOWED, CAPPED, SCALED, PRECISION,
    )  # fmt: skip

    value_width = tl.arange(0, DVP)
    inside = valid[:, None] & (value_width[None, :] < DV)
    if SPLIT:
        part = ((tile * Q + lane // GB).to(tl.int64) * H + head) * splits + split
        # nobody reads the sums of a part whose total is 0
        tl.store(
            part_sums + part[:, None] * DV + value_width[None, :],
            acc,
            mask=inside & (total[:, None] > 0),
        )
        tl.store(part_peaks + 2 * part, peak, mask=valid)
        tl.store(part_peaks + 2 * part + 1, total, mask=valid)
    else:
        acc = acc / tl.where(total > 0, total, 1.0)[:, None]
        y_at = ((start + token).to(tl.int64) * H + head) * DV
        tl.store(y + y_at[:, None] + value_width[None, :], acc.to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["splits"], do_not_specialize_on_alignment=["tiles", "starts"])
def _attention_join(
    part_sums, part_peaks, starts, tiles, y, splits,
    H: tl.constexpr, Q: tl.constexpr, DV: tl.constexpr, DVP: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Grid (tiles * Q, H): one token's head; SPLITS is `splits` rounded up to a power of two."""
    tile = tl.program_id(0) // Q
    member = tl.program_id(0) % Q
    head = tl.program_id(1)
    row = tl.load(tiles + 2 * tile)
    if row < 0:
        return
    token = tl.load(tiles + 2 * tile + 1) + member
    start = tl.load(starts + row)
    if token >= tl.load(starts + row + 1) - start:
        return
    split = tl.arange(0, SPLITS)
    width = tl.arange(0, DVP)
    part = (tl.program_id(0).to(tl.int64) * H + head) * splits + split
    total = tl.load(part_peaks + 2 * part + 1, mask=split < splits, other=0.0)
    there = total > 0
    peak = tl.load(part_peaks + 2 * part, mask=there, other=float("-inf"))
    highest = tl.max(peak, 0)
    weight = tl.where(there, tl.exp2(peak - tl.where(there, highest, 0.0)), 0.0)
    sums = tl.load(
        part_sums + part[:, None] * DV + width[None, :],
        mask=there[:, None] & (width[None, :] < DV),
        other=0.0,
    )
    mixed = tl.sum(sums * weight[:, None], 0) / tl.sum(total * weight, 0)
    y_at = ((start + token).to(tl.int64) * H + head) * DV
    tl.store(y + y_at + width, mixed.to(y.dtype.element_ty), mask=width < DV)


def attend(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    table: Tensor,
    starts: Tensor,
    past: Tensor,
    plan: Plan,
    *,
    scale: float,
    window: int | None = None,
    soft_cap: float | None = None,
    sinks: Tensor | None = None,
    scales: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Causal attention of the step's new tokens over the paged keys and values of their rows.

    q        [T, H, D]         f32, bf16 or f16; rows packed end to end, H / K query heads in a row share a key head
    keys     [B, S, K, D]      f32, bf16, f16, int8 or fp8; the last axis contiguous, any strides before it
    values   [B, S, K, Dv]     as keys
    table    [R, M]            i32 block ids of each row
    starts   [R + 1]           i32 row r owns tokens starts[r]:starts[r + 1]
    past     [R]               i32 tokens of the row in the cache before the step
    plan     which tiles there are; every token with a row is in exactly one
    window   tokens or None: query i sees key j iff 0 <= i - j < window
    sinks    [H] or None: logits that join each head's softmax and take its weight without a value
    scales   [B, S, K] f32 each, contiguous: what stored keys and values are multiplied by; None for 1
    returns  [T, H, Dv]        q's dtype, accumulated in f32; tokens of no row are undefined

    Source: Kwon et al. 2023, section 4 (paging); Dao 2023, algorithm 1 (tiling); Dao et al. 2023 "Flash-Decoding" (splits
    of the context); Xiao et al. 2023, section 3 (sinks).
    """
    tokens, heads, _ = q.shape
    y = torch.empty((tokens, heads, values.shape[3]), dtype=q.dtype, device=q.device)
    for tiles in plan.parts:
        _attend_tiles(
            q, keys, values, table, starts, past, tiles, y, sinks, scales,
            scale=scale, window=window, soft_cap=soft_cap,
        )  # fmt: skip
    return y


def _attend_tiles(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    table: Tensor,
    starts: Tensor,
    past: Tensor,
    tiles: Tiles,
    y: Tensor,
    sinks: Tensor | None,
    scales: tuple[Tensor, Tensor] | None,
    *,
    scale: float,
    window: int | None,
    soft_cap: float | None,
) -> None:
    """The tiles of one kind."""
    heads, width = q.shape[1:]
    kv_heads, value_width = values.shape[2:]
    group = heads // kv_heads
    members = min(group, tiles.heads)
    sums, peaks = _parts(tiles, heads, value_width, y)
    constants: dict[str, Any] = {
        "H": heads,
        "Q": tiles.tokens,
        "DV": value_width,
        "DVP": power_of_two(value_width, 16),
    }
    launch(
        _attention,
        (tiles.count, kv_heads * ceil_div(group, members), tiles.splits),
        q, keys, values, *(scales or (y, y)), y if sinks is None else sinks, table, starts, past, tiles.tiles, y,
        sums, peaks, scale, soft_cap or 1.0, window or 0, tiles.splits, table.stride(0),
        q.stride(0), q.stride(1), *keys.stride()[:3], *values.stride()[:3], kv_heads,
        G=group, GB=members, M=power_of_two(tiles.tokens * members, 16),
        D=width, DP=power_of_two(width, 16), S=keys.shape[1], TILE=tiles.tile,
        SPLIT=tiles.splits > 1, WINDOWED=window is not None, CAPPED=soft_cap is not None,
        SINKS=sinks is not None, SCALED=scales is not None, PRECISION="ieee", tuning=tiles.tuning, **constants,
    )  # fmt: skip
    if tiles.splits > 1:
        launch(
            _attention_join,
            (tiles.count * tiles.tokens, heads),
            sums, peaks, starts, tiles.tiles, y, tiles.splits,
            SPLITS=power_of_two(tiles.splits), tuning={"warps": 4}, **constants,
        )  # fmt: skip


def _parts(tiles: Tiles, heads: int, value_width: int, y: Tensor) -> tuple[Tensor, Tensor]:
    """Room for what the splits leave: sums [tokens, H, splits, Dv] and peak and total [tokens, H, splits, 2]."""
    if tiles.splits == 1:
        return y, y
    shape = (tiles.count * tiles.tokens, heads, tiles.splits)
    sums = torch.empty((*shape, value_width), dtype=torch.float32, device=y.device)
    return sums, torch.empty((*shape, 2), dtype=torch.float32, device=y.device)
