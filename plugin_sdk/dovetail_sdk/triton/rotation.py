"""Rotary positions, and writing keys and values into the paged cache: apart, and both in one kernel."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import ceil_div, launch, power_of_two
from .tables import tuned, whole


@triton.jit
def _cos_sin(angle):
    """cos and sin of f32 angles of any size, to about one unit in the last place.

    The quarter turns are taken off in f64, and polynomials do the rest: the libraries' own reduction of large angles
    needs a stack.

    Source: Moshier 1989, Cephes, sinf (coefficients).
    """
    exact = angle.to(tl.float64)
    turns = tl.floor(exact * 0.6366197723675814 + 0.5)
    r = (exact - turns * 1.5707963267948966).to(tl.float32)
    z = r * r
    sin = r + r * z * (-1.6666654611e-1 + z * (8.3321608736e-3 - z * 1.9515295891e-4))
    cos = 4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5)
    cos = 1.0 - 0.5 * z + z * z * cos
    quarter = turns.to(tl.int64).to(tl.int32) & 3
    odd = (quarter & 1) == 1
    swapped_cos, swapped_sin = tl.where(odd, sin, cos), tl.where(odd, cos, sin)
    minus_cos = (quarter == 1) | (quarter == 2)
    minus_sin = quarter >= 2
    return (
        tl.where(minus_cos, -swapped_cos, swapped_cos),
        tl.where(minus_sin, -swapped_sin, swapped_sin),
    )


@triton.jit
def _angles(position, frequencies, factor, N: tl.constexpr, NP: tl.constexpr):
    """cos and sin [NP] of a token, times factor."""
    pair = tl.arange(0, NP)
    angle = position.to(tl.float32) * tl.load(frequencies + pair, mask=pair < N, other=0.0)
    cos, sin = _cos_sin(angle)
    return cos * factor, sin * factor


@triton.jit
def _scale(largest, target):
    """What brings the largest [HB] of some numbers to the largest of the fp8 that target points at."""
    dtype: tl.constexpr = target.dtype.element_ty
    if dtype == tl.float8e4b8:
        scale = largest / 240.0
    else:
        scale = largest / 448.0
    return tl.where(largest > 0, scale, 1.0)


@triton.jit
def _kept(value, target):
    """A value in the type that target points at; fp8 has no infinity, so what is beyond its range becomes its largest."""
    dtype: tl.constexpr = target.dtype.element_ty
    if dtype == tl.float8e4nv:
        value = tl.clamp(value.to(tl.float32), -448.0, 448.0)
    if dtype == tl.float8e4b8:
        value = tl.clamp(value.to(tl.float32), -240.0, 240.0)
    return value.to(dtype)


@triton.jit
def _rotate_heads(
    source, target, scales, head, heads, source_stride, target_stride, cos, sin,
    D: tl.constexpr, DP: tl.constexpr, N: tl.constexpr, NP: tl.constexpr,
    INTERLEAVED: tl.constexpr, SCALED: tl.constexpr,
):  # fmt: skip
    """Heads [HB] of one token from source to target, rotated; strides are between heads, those of scales is 1."""
    pair = tl.arange(0, NP)
    if INTERLEAVED:
        first, second = 2 * pair, 2 * pair + 1
    else:
        first, second = pair, pair + N
    there = (head[:, None] < heads) & (pair[None, :] < N)
    read = source + head[:, None] * source_stride
    write = target + head[:, None] * target_stride
    a = tl.load(read + first[None, :], mask=there, other=0.0)
    b = tl.load(read + second[None, :], mask=there, other=0.0)
    dtype = a.dtype  # what a graph rounds to before it writes to the cache
    a, b = a.to(tl.float32), b.to(tl.float32)
    y = (a * cos[None, :] - b * sin[None, :]).to(dtype)
    z = (b * cos[None, :] + a * sin[None, :]).to(dtype)
    width = tl.arange(0, DP)
    rest = (head[:, None] < heads) & (width[None, :] >= 2 * N) & (width[None, :] < D)
    if SCALED:
        y, z = y.to(tl.float32), z.to(tl.float32)
        largest = tl.maximum(tl.max(tl.abs(y), 1), tl.max(tl.abs(z), 1))
        if 2 * N < D:
            x = tl.load(read + width[None, :], mask=rest, other=0.0).to(tl.float32)
            largest = tl.maximum(largest, tl.max(tl.abs(x), 1))
        scale = _scale(largest, target)
        tl.store(scales + head, scale, mask=head < heads)
        y, z = y / scale[:, None], z / scale[:, None]
    tl.store(write + first[None, :], _kept(y, target), mask=there)
    tl.store(write + second[None, :], _kept(z, target), mask=there)
    if 2 * N < D:
        x = tl.load(read + width[None, :], mask=rest, other=0.0)
        if SCALED:
            x = x.to(tl.float32) / scale[:, None]
        tl.store(write + width[None, :], _kept(x, target), mask=rest)


@triton.jit
def _copy_heads(
    source, target, scales, head, heads, source_stride, target_stride,
    D: tl.constexpr, DP: tl.constexpr, SCALED: tl.constexpr,
):  # fmt: skip
    """Heads [HB] of one token from source to target."""
    width = tl.arange(0, DP)
    there = (head[:, None] < heads) & (width[None, :] < D)
    value = tl.load(source + head[:, None] * source_stride + width[None, :], mask=there, other=0.0)
    if SCALED:
        value = value.to(tl.float32)
        scale = _scale(tl.max(tl.abs(value), 1), target)
        tl.store(scales + head, scale, mask=head < heads)
        value /= scale[:, None]
    at = target + head[:, None] * target_stride + width[None, :]
    tl.store(at, _kept(value, target), mask=there)


@triton.jit(do_not_specialize_on_alignment=["positions"])
def _rope(
    x, positions, frequencies, y, factor, token_stride, head_stride,
    H: tl.constexpr, HB: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, N: tl.constexpr,
    NP: tl.constexpr, INTERLEAVED: tl.constexpr,
):  # fmt: skip
    """Grid (T, ceil(H / HB))."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    cos, sin = _angles(tl.load(positions + token), frequencies, factor, N, NP)
    _rotate_heads(
        x + token * token_stride, y + token * H * D, y, head, H, head_stride, D, cos, sin,
        D, DP, N, NP, INTERLEAVED, False,
    )  # fmt: skip


@triton.jit(do_not_specialize_on_alignment=["blocks", "offsets"])
def _kv_write(
    k, v, blocks, offsets, keys, values, key_scales, value_scales,
    k_token_stride, k_head_stride, v_token_stride, v_head_stride,
    block_stride, token_stride, head_stride,
    value_block_stride, value_token_stride, value_head_stride, size,
    K: tl.constexpr, HB: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, DV: tl.constexpr,
    DVP: tl.constexpr, SCALED: tl.constexpr,
):  # fmt: skip
    """Grid (T, ceil(K / HB)); size is S."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    block = tl.load(blocks + token).to(tl.int64)
    offset = tl.load(offsets + token).to(tl.int64)
    key_at = keys + block * block_stride + offset * token_stride
    value_at = values + block * value_block_stride + offset * value_token_stride
    scale_at = (block * size + offset) * K
    _copy_heads(
        k + token * k_token_stride, key_at, key_scales + scale_at, head, K,
        k_head_stride, head_stride, D, DP, SCALED,
    )  # fmt: skip
    _copy_heads(
        v + token * v_token_stride, value_at, value_scales + scale_at, head, K,
        v_head_stride, value_head_stride, DV, DVP, SCALED,
    )  # fmt: skip


@triton.jit(do_not_specialize_on_alignment=["positions", "blocks", "offsets"])
def _rope_write(
    q, k, v, positions, frequencies, blocks, offsets, y, keys, values, key_scales, value_scales,
    factor, q_token_stride, q_head_stride, k_token_stride, k_head_stride, v_token_stride, v_head_stride,
    block_stride, token_stride, head_stride,
    value_block_stride, value_token_stride, value_head_stride, size,
    H: tl.constexpr, K: tl.constexpr, HB: tl.constexpr, D: tl.constexpr, DP: tl.constexpr,
    DV: tl.constexpr, DVP: tl.constexpr, N: tl.constexpr, NP: tl.constexpr,
    INTERLEAVED: tl.constexpr, SCALED: tl.constexpr,
):  # fmt: skip
    """Grid (T, ceil(H / HB) + ceil(K / HB)): queries, then keys and values; size is S."""
    token = tl.program_id(0).to(tl.int64)
    parts: tl.constexpr = (H + HB - 1) // HB
    part = tl.program_id(1)
    cos, sin = _angles(tl.load(positions + token), frequencies, factor, N, NP)
    if part < parts:
        head = part * HB + tl.arange(0, HB)
        _rotate_heads(
            q + token * q_token_stride, y + token * H * D, y, head, H, q_head_stride, D, cos, sin,
            D, DP, N, NP, INTERLEAVED, False,
        )  # fmt: skip
    else:
        head = (part - parts) * HB + tl.arange(0, HB)
        block = tl.load(blocks + token).to(tl.int64)
        offset = tl.load(offsets + token).to(tl.int64)
        key_at = keys + block * block_stride + offset * token_stride
        value_at = values + block * value_block_stride + offset * value_token_stride
        scale_at = (block * size + offset) * K
        _rotate_heads(
            k + token * k_token_stride, key_at, key_scales + scale_at, head, K, k_head_stride,
            head_stride, cos, sin, D, DP, N, NP, INTERLEAVED, SCALED,
        )  # fmt: skip
        _copy_heads(
            v + token * v_token_stride, value_at, value_scales + scale_at, head, K,
            v_head_stride, value_head_stride, DV, DVP, SCALED,
        )  # fmt: skip


def rope(
    x: Tensor,
    positions: Tensor,
    *,
    frequencies: Tensor,
    factor: float = 1.0,
    interleaved: bool = False,
    architecture: str,
) -> Tensor:
    """Rotate pairs of the first 2n of D by position * frequency; cos and sin are multiplied by factor.

    x            [T, H, D]  f32, bf16 or f16; the last axis contiguous
    positions    [P, T]     i32; plane 0 is read
    frequencies  [n]        f32, radians per token; angles are f32 products
    interleaved  pairs are (2i, 2i + 1) instead of (i, i + n)
    returns      [T, H, D]  x's dtype

    Source: Su et al. 2021, equation 34; the half-split pairing is that of GPT-NeoX.
    """
    tokens, heads, width = x.shape
    pairs = frequencies.numel()
    y = torch.empty((tokens, heads, width), dtype=x.dtype, device=x.device)
    tuning = tuned("rotation", architecture, D=width)
    block = min(whole(tuning, "heads"), power_of_two(heads))
    launch(
        _rope, (tokens, ceil_div(heads, block)),
        x, positions, frequencies, y, factor, x.stride(0), x.stride(1),
        H=heads, HB=block, D=width, DP=power_of_two(width), N=pairs, NP=power_of_two(pairs),
        INTERLEAVED=interleaved, tuning=tuning,
    )  # fmt: skip
    return y


def kv_write(
    k: Tensor,
    v: Tensor,
    places: tuple[Tensor, Tensor],
    keys: Tensor,
    values: Tensor,
    scales: tuple[Tensor, Tensor] | None = None,
    *,
    architecture: str,
) -> None:
    """Put the step's keys and values where their positions belong, rounded to the cache's type.

    k, v     [T, K, D], [T, K, Dv]  f32, bf16 or f16; the last axis contiguous
    places   blocks [T] and offsets [T], i32
    keys     [B, S, K, D]           f32, bf16, f16 or fp8; the last axis contiguous, any strides before it
    values   [B, S, K, Dv]          as keys
    scales   [B, S, K] f32 each, contiguous, of the keys and of the values, where these are fp8: written too, so that the
             largest of a token's head is the largest number of its type

    No two tokens have the same place but in block 0, which nobody reads.

    Source: Kwon et al. 2023, section 4.
    """
    tokens, heads, width = k.shape
    tuning = tuned("rotation", architecture, D=max(width, v.shape[2]))
    block = min(whole(tuning, "heads"), power_of_two(heads))
    launch(
        _kv_write, (tokens, ceil_div(heads, block)),
        k, v, *places, keys, values, *(scales or (keys, values)), *k.stride()[:2], *v.stride()[:2],
        *keys.stride()[:3], *values.stride()[:3], keys.shape[1],
        K=heads, HB=block, D=width, DP=power_of_two(width), DV=v.shape[2],
        DVP=power_of_two(v.shape[2]), SCALED=scales is not None, tuning=tuning,
    )  # fmt: skip


def rope_write(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    positions: Tensor,
    places: tuple[Tensor, Tensor],
    keys: Tensor,
    values: Tensor,
    scales: tuple[Tensor, Tensor] | None = None,
    *,
    frequencies: Tensor,
    factor: float = 1.0,
    interleaved: bool = False,
    architecture: str,
) -> Tensor:
    """Rotated queries, while rotated keys and the values go into the cache: rope twice, then kv_write.

    q, k, v  [T, H, D], [T, K, D], [T, K, Dv]; the rest as in rope and kv_write
    returns  [T, H, D]
    """
    tokens, heads, width = q.shape
    kv_heads, pairs = k.shape[1], frequencies.numel()
    y = torch.empty((tokens, heads, width), dtype=q.dtype, device=q.device)
    tuning = tuned("rotation", architecture, D=max(width, v.shape[2]))
    block = min(whole(tuning, "heads"), power_of_two(heads))
    launch(
        _rope_write, (tokens, ceil_div(heads, block) + ceil_div(kv_heads, block)),
        q, k, v, positions, frequencies, *places, y, keys, values, *(scales or (keys, values)), factor,
        *q.stride()[:2], *k.stride()[:2], *v.stride()[:2], *keys.stride()[:3], *values.stride()[:3],
        keys.shape[1],
        H=heads, K=kv_heads, HB=block, D=width, DP=power_of_two(width), DV=v.shape[2],
        DVP=power_of_two(v.shape[2]), N=pairs, NP=power_of_two(pairs), INTERLEAVED=interleaved,
        SCALED=scales is not None, tuning=tuning,
    )  # fmt: skip
    return y
