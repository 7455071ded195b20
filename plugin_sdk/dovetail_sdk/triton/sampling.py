"""Drawing tokens on the device: edits, masks, cuts and the Gumbel-max draw of dovetail.platform.SamplingColumns.

A row of logits is cut into chunks. Scores in f32 say which chunks can hold the winner; in those it is decided in f64, as
on the host. Where a row is cut (top-k, top-p, min-p), the smallest logit kept is found by halving the range of the
ordered bits of f32: no sort, no atomics, the same on every run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import ceil_div, launch, power_of_two

CHUNK = 4096
"""Logits of a program."""
TUNING = {"warps": 8}


@triton.jit(
    do_not_specialize=["count"],
    do_not_specialize_on_alignment=["rows", "ids", "factors", "addends"],
)
def _edit(logits, rows, ids, factors, addends, count, V, BLOCK: tl.constexpr):
    """Grid (ceil(count / BLOCK)): edits of different logits."""
    edit = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = edit < count
    row = tl.load(rows + edit, mask=there, other=0).to(tl.int64)
    at = logits + row * V + tl.load(ids + edit, mask=there, other=0)
    factor = tl.load(factors + edit, mask=there, other=1.0)
    x = tl.load(at, mask=there, other=0.0)
    x = tl.where(x > 0, tl.div_rn(x, factor), x * factor)
    tl.store(at, x + tl.load(addends + edit, mask=there, other=0.0), mask=there)


@triton.jit(do_not_specialize_on_alignment=["rows", "masks"])
def _mask(logits, rows, masks, V, W, BLOCK: tl.constexpr):
    """Grid (m, ceil(V / BLOCK)). A NaN stays one: the row is not finite, whatever its mask."""
    index = tl.program_id(0)
    row = tl.load(rows + index).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    word = tl.load(masks + index.to(tl.int64) * W + (column >> 5), mask=column < V, other=-1)
    barred = ((word >> (column & 31)) & 1) == 0
    at = logits + row * V + column
    x = tl.load(at, mask=barred & (column < V), other=0.0)
    tl.store(at, float("-inf"), mask=barred & (column < V) & (x == x))


@triton.jit
def _read(logits, row, column, V):
    """Logits of a row; what is not there and what is not a number as -inf, and -0 as 0, to which it is equal."""
    x = tl.load(logits + row.to(tl.int64) * V + column, mask=column < V, other=float("-inf"))
    x = tl.where(x == x, x, float("-inf"))
    return tl.where(x == 0.0, 0.0, x)


@triton.jit
def _peaks(logits, peaks, V, chunks, CHUNK: tl.constexpr):
    """Grid (n, chunks): the largest logit of a chunk."""
    row, chunk = tl.program_id(0), tl.program_id(1)
    x = _read(logits, row, chunk * CHUNK + tl.arange(0, CHUNK), V)
    tl.store(peaks + row * chunks + chunk, tl.max(x, 0))


@triton.jit
def _ordered(x):
    """Bits of f32 as i32 in the order of the numbers."""
    bits = x.to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


@triton.jit
def _above(logits, row, V, low, peak, temperature, CHUNK: tl.constexpr):
    """How many logits have ordered bits of at least `low` (i64), and the sum of their exp((x - peak) / temperature)."""
    count = tl.zeros([], tl.int32)
    mass = tl.zeros([], tl.float64)
    for first in tl.range(0, V, CHUNK):
        x = _read(logits, row, first + tl.arange(0, CHUNK), V)
        inside = (_ordered(x).to(tl.int64) >= low) & (first + tl.arange(0, CHUNK) < V)
        count += tl.sum(inside.to(tl.int32), 0)
        weight = tl.where(inside, tl.exp((x - peak) / temperature), 0.0)
        mass += tl.sum(weight, 0).to(tl.float64)
    return count, mass


@triton.jit(do_not_specialize_on_alignment=["temperature", "top_k", "top_p", "min_p"])
def _cut(
    logits, peaks, temperature, top_k, top_p, min_p, floors, lasts, V, chunks,
    CHUNK: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    """Grid (n). A logit is kept if it is above the row's floor, or equal to it and its id is at most the row's last."""
    row = tl.program_id(0)
    some = tl.arange(0, CHUNKS)
    peak = tl.max(tl.load(peaks + row * chunks + some, mask=some < chunks, other=float("-inf")), 0)
    T = tl.load(temperature + row)
    k = tl.load(top_k + row)
    p = tl.load(top_p + row)
    share = tl.load(min_p + row)
    floor = float("-inf")
    last = V
    if (T > 0) & (peak > float("-inf")) & (peak < float("inf")):
        top = _ordered(peak).to(tl.int64) + 1
        low = _ordered(tl.full([], float("-inf"), tl.float32)).to(tl.int64)
        ties = V  # of those equal to the floor, how many are kept
        total = tl.zeros([], tl.float64)
        limited = (k > 0) & (k < V)
        if limited:
            high = top
            while high - low > 1:
                middle = low + (high - low) // 2
                count, _ = _above(logits, row, V, middle, peak, T, CHUNK)
                if count >= k:
                    low = middle
                else:
                    high = middle
                if count == k:
                    high = low + 1
            count, mass = _above(logits, row, V, low + 1, peak, T, CHUNK)
            ties = k - count
            total = mass + ties.to(tl.float64) * _weight(low, peak, T).to(tl.float64)
        if p < 1:
            if not limited:
                _, total = _above(logits, row, V, low, peak, T, CHUNK)
            wanted = p.to(tl.float64) * total
            start = low
            high = top
            low_count = V
            high_count = tl.zeros([], tl.int32)
            high_mass = tl.zeros([], tl.float64)
            while high - low > 1:
                middle = low + (high - low) // 2
                count, mass = _above(logits, row, V, middle, peak, T, CHUNK)
                if mass >= wanted:
                    low = middle
                    low_count = count
                else:
                    high = middle
                    high_count = count
                    high_mass = mass
                if (low > start) & (low_count - high_count == 1):
                    high = low + 1  # the one logit between them is the last that is kept
                    high_mass = wanted
            if low > start:
                ties = V
            # of equal logits, as many as the sum still needs; a single one is kept whole
            if high_mass < wanted:
                each = _weight(low, peak, T).to(tl.float64)
                needed = tl.ceil((wanted - high_mass) / each).to(tl.int32)
                ties = tl.minimum(ties, tl.maximum(needed, 1))
        floor = _number(low)
        if ties < V:
            last = -1
            seen = tl.zeros([], tl.int32)
            for first in tl.range(0, V, CHUNK):
                column = first + tl.arange(0, CHUNK)
                same = (_read(logits, row, column, V) == floor) & (column < V)
                rank = seen + tl.cumsum(same.to(tl.int32), 0)
                last = tl.maximum(last, tl.max(tl.where(same & (rank <= ties), column, -1), 0))
                seen += tl.sum(same.to(tl.int32), 0)
        if share > 0:
            bound = tl.log(share.to(tl.float64))
            least = float("inf")
            for first in tl.range(0, V, CHUNK):
                x = _read(logits, row, first + tl.arange(0, CHUNK), V)
                relative = (x.to(tl.float64) - peak.to(tl.float64)) / T.to(tl.float64)
                least = tl.minimum(least, tl.min(tl.where(relative >= bound, x, float("inf")), 0))
            least = tl.minimum(least, peak)
            if least > floor:
                floor = least
                last = V
    tl.store(floors + row, floor)
    tl.store(lasts + row, last)


@triton.jit
def _number(ordered):
    """The f32 with these ordered bits (i64)."""
    bits = ordered.to(tl.int32)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.float32, bitcast=True)


@triton.jit
def _weight(ordered, peak, temperature):
    """exp((x - peak) / temperature) of the f32 with these ordered bits."""
    return tl.exp((_number(ordered) - peak) / temperature)


@triton.jit
def _words(group, position, low, high):
    """Philox-4x32-10 of counters (group, position, 0, 0): four words u32.

    Source: Salmon, Moraes, Dror, Shaw 2011, section 3.3.
    """
    zero = tl.zeros_like(group)
    c0, c1, c2, c3 = group, zero + position, zero, zero
    k0, k1 = zero + low, zero + high
    first, second = zero + 0xD2511F53, zero + 0xCD9E8D57
    for _ in tl.static_range(10):
        high0, high1 = tl.umulhi(first, c0), tl.umulhi(second, c2)
        low0, low1 = first * c0, second * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += zero + 0x9E3779B9
        k1 += zero + 0xBB67AE85
    return c0, c1, c2, c3


@triton.jit
def _chunk_words(chunk, seed, position, row, CHUNK: tl.constexpr):
    """Words u32 [CHUNK / 4, 4] of a chunk's ids, in order."""
    group = (chunk * (CHUNK // 4) + tl.arange(0, CHUNK // 4)).to(tl.uint32)
    low = tl.load(seed + 2 * row).to(tl.uint32, bitcast=True)
    high = tl.load(seed + 2 * row + 1).to(tl.uint32, bitcast=True)
    place = tl.load(position + row).to(tl.uint32, bitcast=True)
    c0, c1, c2, c3 = _words(group, place, low, high)
    lane = tl.arange(0, 4)[None, :]
    left = tl.where(lane == 0, c0[:, None], c1[:, None])
    right = tl.where(lane == 2, c2[:, None], c3[:, None])
    return tl.where(lane < 2, left, right)


@triton.jit
def _kept(x, column, floor, last):
    return (x > floor) | ((x == floor) & (column <= last))


@triton.jit(do_not_specialize_on_alignment=["temperature", "seed", "position"])
def _scores(
    logits, peaks, temperature, seed, position, floors, lasts, scores, V, chunks,
    CHUNK: tl.constexpr, CHUNKS: tl.constexpr, LIMITED: tl.constexpr,
):  # fmt: skip
    """Grid (n, chunks): the best score of a chunk in f32, good to about 1e-5."""
    row, chunk = tl.program_id(0), tl.program_id(1)
    some = tl.arange(0, CHUNKS)
    peak = tl.max(tl.load(peaks + row * chunks + some, mask=some < chunks, other=float("-inf")), 0)
    T = tl.load(temperature + row)
    if T > 0:
        column = chunk * CHUNK + 4 * tl.arange(0, CHUNK // 4)[:, None] + tl.arange(0, 4)[None, :]
        x = _read(logits, row, column, V)
        word = _chunk_words(chunk, seed, position, row, CHUNK)
        # -log u, by a series where u is so near 1 that f32 has few digits left
        beside = ((word ^ 0xFFFFFFFF).to(tl.float32) + 0.5) * 2.3283064365386963e-10
        series = beside * (1.0 + beside * (0.5 + beside * 0.3333333333))
        plain = -tl.log((word.to(tl.float32) + 0.5) * 2.3283064365386963e-10)
        score = (x - peak) / T - tl.log(tl.where(beside < 0.01, series, plain))
        if LIMITED:
            kept = _kept(x, column, tl.load(floors + row), tl.load(lasts + row))
            score = tl.where(kept, score, float("-inf"))
        score = tl.where(score == score, score, float("-inf"))
        tl.store(scores + row * chunks + chunk, tl.max(tl.max(score, 1), 0))


@triton.jit(do_not_specialize_on_alignment=["temperature", "seed", "position"])
def _choose(
    logits, peaks, temperature, seed, position, floors, lasts, scores, ids, V, chunks,
    CHUNK: tl.constexpr, CHUNKS: tl.constexpr, LIMITED: tl.constexpr, RANDOM: tl.constexpr,
):  # fmt: skip
    """Grid (n): the id with the largest score, or with the largest logit; ties to the lowest id."""
    row = tl.program_id(0)
    some = tl.arange(0, CHUNKS)
    highest = tl.load(peaks + row * chunks + some, mask=some < chunks, other=float("-inf"))
    peak = tl.max(highest, 0)
    T = tl.load(temperature + row)
    drawn = (T > 0) & (peak > float("-inf")) & (peak < float("inf"))
    winner = V
    if RANDOM:
        if drawn:
            found = tl.load(scores + row * chunks + some, mask=some < chunks, other=float("-inf"))
            bound = tl.max(found, 0) - 1e-3
            best = tl.full([], float("-inf"), tl.float64)
            for chunk in tl.range(0, chunks):
                if tl.load(scores + row * chunks + chunk) >= bound:
                    lane = tl.arange(0, 4)[None, :]
                    column = chunk * CHUNK + 4 * tl.arange(0, CHUNK // 4)[:, None] + lane
                    x = _read(logits, row, column, V)
                    word = _chunk_words(chunk, seed, position, row, CHUNK)
                    u = (word.to(tl.float64) + 0.5) * 2.3283064365386963e-10
                    relative = (x.to(tl.float64) - peak.to(tl.float64)) / T.to(tl.float64)
                    score = relative - tl.log(-tl.log(u))
                    if LIMITED:
                        kept = _kept(x, column, tl.load(floors + row), tl.load(lasts + row))
                        score = tl.where(kept, score, float("-inf"))
                    here = tl.max(tl.max(score, 1), 0)
                    first = tl.min(tl.min(tl.where(score == here, column, V), 1), 0)
                    if here > best:  # chunks come in the order of their ids
                        best = here
                        winner = first
    if not (RANDOM and drawn):
        chunk = tl.min(tl.where((highest == peak) & (some < chunks), some, CHUNKS), 0)
        column = chunk * CHUNK + tl.arange(0, CHUNK)
        x = _read(logits, row, column, V)
        winner = tl.min(tl.where((x == peak) & (column < V), column, V), 0)
    tl.store(ids + row, tl.minimum(winner, V - 1))


def edit(logits: Tensor, rows: Tensor, ids: Tensor, factors: Tensor, addends: Tensor) -> None:
    """Change some logits in place: a positive one is divided by its factor, others multiplied; then the addend is added.

    logits            [n, V]  f32, contiguous
    rows, ids         [e]     i32, no pair twice
    factors, addends  [e]     f32
    """
    count = rows.numel()
    launch(
        _edit, (ceil_div(count, 256),),
        logits, rows, ids, factors, addends, count, logits.shape[1], BLOCK=256,
        tuning={"warps": 4},
    )  # fmt: skip


def mask(logits: Tensor, rows: Tensor, masks: Tensor) -> None:
    """Put -inf, in place, wherever a mask has a 0.

    logits  [n, V]            f32, contiguous
    rows    [m]               i32
    masks   [m, ceil(V / 32)] i32, the bits of u32: bit id & 31 of word id >> 5 allows the id
    """
    launch(
        _mask, (rows.numel(), ceil_div(logits.shape[1], 1024)),
        logits, rows, masks, logits.shape[1], masks.shape[1], BLOCK=1024, tuning={"warps": 4},
    )  # fmt: skip


def draw(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    min_p: Tensor,
    seed: Tensor,
    position: Tensor,
    *,
    limited: bool,
    random: bool,
) -> Tensor:
    """One id per row, by the rules of dovetail.platform.SamplingColumns.

    logits                     [n, V]  f32, contiguous, edited and masked
    temperature, top_p, min_p  [n]     f32
    top_k, position            [n]     i32
    seed                       [n, 2]  i32, the bits of u32: low and high word of the key
    limited  False: no row has top-k, top-p or min-p
    random   False: every temperature is 0
    returns  [n]  i32; of a row with +inf its lowest id, of one that is all NaN or -inf 0
    """
    count, size = logits.shape
    chunks = ceil_div(size, CHUNK)
    new = logits.new_empty
    peaks, ids = new((count, chunks)), new((count,), dtype=torch.int32)
    shape: dict[str, Any] = {"CHUNK": CHUNK, "CHUNKS": power_of_two(chunks)}
    launch(_peaks, (count, chunks), logits, peaks, size, chunks, CHUNK=CHUNK, tuning=TUNING)
    floors, lasts, scores = peaks, ids, peaks
    limited = limited and random
    if limited:
        floors, lasts = new((count,)), new((count,), dtype=torch.int32)
        launch(
            _cut, (count,),
            logits, peaks, temperature, top_k, top_p, min_p, floors, lasts, size, chunks,
            tuning=TUNING, **shape,
        )  # fmt: skip
    if random:
        scores = new((count, chunks))
        launch(
            _scores, (count, chunks),
            logits, peaks, temperature, seed, position, floors, lasts, scores, size, chunks,
            LIMITED=limited, tuning=TUNING, **shape,
        )  # fmt: skip
    launch(
        _choose, (count,),
        logits, peaks, temperature, seed, position, floors, lasts, scores, ids, size, chunks,
        LIMITED=limited, RANDOM=random, tuning=TUNING, **shape,
    )  # fmt: skip
    return ids


SAMPLING: dict[str, Callable[..., Any]] = {"edit": edit, "mask": mask, "draw": draw}
"""For the sampler, by name."""
