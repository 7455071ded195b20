"""Mixtures of experts: routing, and matrix products in which every row has its own weight.

Pairs (token, expert) are put in order of their experts, each expert's padded to whole tiles, so that a tile has one
weight. The number of tiles depends on shapes alone; those that are not needed do nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .activations import split_gated_activation
from .launch import ceil_div, launch, power_of_two
from .linear import BLOCK, eight_bits, four_bits, grouped
from .quantised import EightBits, FourBits
from .tables import tuned, whole


@triton.jit
def _route(
    logits, weights, ids,
    X: tl.constexpr, XP: tl.constexpr, k: tl.constexpr, NORMED: tl.constexpr,
):  # fmt: skip
    """Grid (T): softmax over all experts, then the k largest, ties to the lowest id."""
    token = tl.program_id(0).to(tl.int64)
    expert = tl.arange(0, XP)
    x = tl.load(logits + token * X + expert, mask=expert < X, other=float("-inf")).to(tl.float32)
    x = tl.where(x == x, x, float("-inf"))
    peak = tl.max(x, 0)
    mass = tl.exp(x - peak)
    total = tl.sum(mass, 0)
    if NORMED:
        left = x
        total = tl.zeros([], tl.float32)
        for _ in tl.static_range(k):
            best = tl.max(left, 0)
            winner = tl.min(tl.where((left == best) & (expert < X), expert, X - 1), 0)
            total += tl.exp(best - peak)
            left = tl.where(expert == winner, float("-inf"), left)
    # winners leave by a mark of their own: -inf can be a logit
    taken = expert >= X
    for index in tl.static_range(k):
        best = tl.max(tl.where(taken, float("-inf"), x), 0)
        winner = tl.min(tl.where((x == best) & ~taken, expert, XP), 0)
        taken = taken | (expert == winner)
        tl.store(weights + token * k + index, tl.exp(best - peak) / total)
        tl.store(ids + token * k + index, winner)


@triton.jit(do_not_specialize=["pairs", "per_token"])
def _experts(
    x, data, scale, zero, factors, order, owners, y, pairs, per_token, experts, rows, inputs,
    BITS: tl.constexpr, GROUP: tl.constexpr, HALF: tl.constexpr, BN: tl.constexpr,
    BM: tl.constexpr, BK: tl.constexpr, EVEN: tl.constexpr, FACTORS: tl.constexpr,
):  # fmt: skip
    """Grid (ceil(O / BN), tiles): pairs of one tile times the weight [O, I] of its expert.

    Row of x of a pair is pair // per_token. BITS is 16 for dense weights, 8 or 4.
    """
    tile = tl.program_id(1)
    owner = tl.load(owners + tile)
    if owner >= experts:
        return
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    pair = tl.load(order + tile * BM + tl.arange(0, BM))
    has_row, has_pair = row < rows, pair >= 0
    source = tl.where(has_pair, pair, 0) // per_token
    x += source.to(tl.int64)[None, :] * inputs
    own_row = owner.to(tl.int64) * rows + row
    acc = tl.zeros([BN, BM], tl.float32)
    if BITS == 4:
        column = tl.arange(0, HALF)
        data += own_row[:, None] * (inputs // 2) + column[None, :]
        planes = owner.to(tl.int64) * (inputs // GROUP) * rows
        for first in tl.range(0, inputs, 2 * HALF):
            packed = tl.load(data + first // 2, mask=has_row[:, None], other=0)
            for high in tl.static_range(2):
                begin = first + high * HALF
                a = tl.load(x + begin + column[:, None], mask=has_pair[None, :], other=0.0)
                w = four_bits(packed, high == 1, a.dtype).to(tl.float32) - 16.0
                if GROUP <= HALF:
                    s = grouped(scale + planes, row, rows, begin, inputs, GROUP, HALF)
                    z = grouped(zero + planes, row, rows, begin, inputs, GROUP, HALF)
                else:
                    at = planes + begin // GROUP * rows + row
                    s = tl.load(scale + at, mask=has_row, other=0.0).to(tl.float32)[:, None]
                    z = tl.load(zero + at, mask=has_row, other=0).to(tl.float32)[:, None]
                acc = tl.dot(((w - z) * s).to(a.dtype), a, acc, input_precision="ieee")
    else:
        column = tl.arange(0, BK)
        data += own_row[:, None] * inputs + column[None, :]
        for first in tl.range(0, inputs, BK):
            if EVEN:
                w = tl.load(data + first, mask=has_row[:, None], other=0.0)
                a = tl.load(x + first + column[:, None], mask=has_pair[None, :], other=0.0)
            else:
                left = column < inputs - first
                w = tl.load(data + first, mask=has_row[:, None] & left[None, :], other=0.0)
                a = tl.load(
                    x + first + column[:, None], mask=has_pair[None, :] & left[:, None], other=0.0
                )
            acc = tl.dot(eight_bits(w, a.dtype), a, acc, input_precision="ieee")
        if BITS == 8:
            acc *= tl.load(scale + own_row, mask=has_row, other=0.0)[:, None]
    if FACTORS:
        acc *= tl.load(factors + pair, mask=has_pair, other=0.0)[None, :]
    at = y + pair.to(tl.int64)[None, :] * rows + row[:, None]
    tl.store(at, acc.to(y.dtype.element_ty), mask=has_row[:, None] & has_pair[None, :])


@dataclass(frozen=True, slots=True)
class Grouping:
    """Pairs in order of their experts.

    order   [tiles * size]  i32, a pair, or -1 for padding
    owners  [tiles]         i32, the expert of a tile; X for a tile that is not needed
    size    pairs of a tile
    """

    order: Tensor
    owners: Tensor
    size: int


def route(logits: Tensor, k: int, *, normalised: bool) -> tuple[Tensor, Tensor]:
    """The k experts of each token, largest first.

    logits      [T, X]  f32, bf16 or f16, contiguous
    normalised  weights of the k sum to 1; otherwise they are those of the softmax over all experts
    returns     weights [T, k] f32, ids [T, k] i32

    Source: Shazeer et al. 2017, section 2.1; Jiang et al. 2024 (Mixtral), section 2.1.
    """
    tokens, experts = logits.shape
    weights = torch.empty((tokens, k), dtype=torch.float32, device=logits.device)
    ids = torch.empty((tokens, k), dtype=torch.int32, device=logits.device)
    launch(
        _route, (tokens,),
        logits, weights, ids,
        X=experts, XP=power_of_two(experts), k=k, NORMED=normalised, tuning={"warps": 1},
    )  # fmt: skip
    return weights, ids


def group(ids: Tensor, experts: int, size: int) -> Grouping:
    """Pairs of ids [T, k], counted along its rows, in tiles of `size`; nothing is read on the host."""
    flat = ids.reshape(-1).to(torch.int64)
    pairs, device = flat.numel(), ids.device
    tiles = min(pairs, (pairs + experts * (size - 1)) // size)
    counts = torch.zeros(experts, dtype=torch.int64, device=device)
    counts.scatter_add_(0, flat, torch.ones_like(flat))
    padded = (counts + size - 1) // size * size
    ends = torch.cumsum(padded, 0)
    by_expert = torch.argsort(flat, stable=True)
    owner = flat[by_expert]
    rank = torch.arange(pairs, device=device) - (torch.cumsum(counts, 0) - counts)[owner]
    order = torch.full((tiles * size,), -1, dtype=torch.int32, device=device)
    order[(ends - padded)[owner] + rank] = by_expert.to(torch.int32)
    begins = torch.arange(tiles, device=device) * size
    owners = torch.searchsorted(ends, begins, right=True).to(torch.int32)
    return Grouping(order, owners, size)


def expert_product(
    x: Tensor,
    weight: Tensor | EightBits | FourBits,
    grouping: Grouping,
    pairs: int,
    *,
    factors: Tensor | None = None,
    architecture: str,
) -> Tensor:
    """Row pair // (pairs / n) of x times the weight of the pair's expert, transposed.

    x        [n, I]     f32, bf16 or f16, contiguous; n divides `pairs`
    weight   [X, O, I]  in x's dtype, or planes with an axis of experts before their own: data [X, O, ...], scale [X, O]
                        (EightBits), scale and zero [X, I / group, O] (FourBits)
    factors  [pairs]    f32, multiplied in, or None
    returns  [pairs, O] x's dtype, summed in f32

    Source: Gale et al. 2022 (MegaBlocks), section 4.
    """
    data = weight if isinstance(weight, Tensor) else weight.data
    experts, rows = data.shape[:2]
    inputs = x.shape[1]
    tuning = tuned("experts", architecture, T=grouping.size)
    y = torch.empty((pairs, rows), dtype=x.dtype, device=x.device)
    block, outputs = whole(tuning, "inputs"), whole(tuning, "outputs")
    launch(
        _experts, (ceil_div(rows, outputs), len(grouping.owners)),
        x, data, getattr(weight, "scale", data), getattr(weight, "zero", data),
        y if factors is None else factors, grouping.order, grouping.owners, y,
        pairs, pairs // max(1, len(x)), experts, rows, inputs,
        BITS=4 if isinstance(weight, FourBits) else 8 if isinstance(weight, EightBits) else 16,
        GROUP=getattr(weight, "group", 0) or BLOCK, HALF=BLOCK // 2, BN=outputs, BM=grouping.size,
        BK=block, EVEN=inputs % block == 0, FACTORS=factors is not None, tuning=tuning,
    )  # fmt: skip
    return y


def mixture(
    x: Tensor,
    logits: Tensor,
    gate_up: Tensor | EightBits | FourBits,
    down: Tensor | EightBits | FourBits,
    *,
    k: int,
    normalised: bool,
    activation: str,
    architecture: str,
) -> Tensor:
    """A feed-forward layer of experts: sum over the k of weight * down(activation(gate x) * up x).

    x        [T, E]
    logits   [T, X]      of the router
    gate_up  [X, 2F, E]  gate above up, in a form of expert_product
    down     [X, E, F]
    returns  [T, E]
    """
    tokens, pairs = len(x), len(x) * k
    weights, ids = route(logits, k, normalised=normalised)
    experts = logits.shape[1]
    each = power_of_two(ceil_div(max(1, pairs), experts))
    size = whole(tuned("experts", architecture, T=min(each, 128)), "pairs")
    grouping = group(ids, experts, size)
    hidden = expert_product(x, gate_up, grouping, pairs, architecture=architecture)
    hidden = split_gated_activation(hidden, activation=activation, architecture=architecture)
    y = expert_product(
        hidden, down, grouping, pairs, factors=weights.view(-1), architecture=architecture
    )
    return y.view(tokens, k, -1).sum(1)
