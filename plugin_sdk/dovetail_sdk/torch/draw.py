"""Edits, masks and draws in plain torch. Nothing here waits for the device, or reads a number of it.

A platform may replace each by a kernel of its own, under the same name and arguments (`Sampling`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .philox import noise

Sampling = Mapping[str, Callable[..., Any]]

NUMBERS_AT_ONCE = 1 << 23
"""Logits that are drawn from at once: bounds the memory of a draw, which needs some ten times as much in f64."""


def edit(logits: Tensor, rows: Tensor, ids: Tensor, factors: Tensor, addends: Tensor) -> None:
    """Divide positive logits by a factor, multiply negative ones, then add; in place.

    logits   [n, V] f32
    rows, ids, factors, addends  [e]  each (row, id) at most once
    """
    at = (rows.long(), ids.long())
    values = logits[at]
    changed = torch.where(values > 0, values / factors, values * factors)
    logits.index_put_(at, changed + addends)


def mask(logits: Tensor, rows: Tensor, masks: Tensor) -> None:
    """-inf wherever a mask has a 0, in place; NaN stays NaN.

    logits  [n, V] f32
    rows    [m]
    masks   [m, ceil(V / 32)] i32, the bits of u32: bit id & 31 of word id >> 5 allows the id
    """
    bits = torch.arange(32, device=masks.device, dtype=torch.int32)
    allowed = ((masks[..., None] >> bits) & 1).flatten(1)[:, : logits.shape[1]]
    limits = torch.where(allowed == 0, float("-inf"), float("inf"))
    some = logits.index_select(0, rows)
    logits.index_copy_(0, rows.long(), torch.where(some.isnan(), some, torch.minimum(some, limits)))


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
    """The ids [n] i32 that SamplingColumns defines: the largest logit, or the largest logit / temperature + noise.

    logits   [n, V] f32, after edits and masks
    limited  whether any row has top-k, top-p or min-p
    random   whether any row has a temperature
    """
    if not random:
        return logits.argmax(1).int()
    rows = max(1, NUMBERS_AT_ONCE // logits.shape[1])
    columns = (logits, temperature, top_k, top_p, min_p, seed, position)
    parts = [
        _draw(*(column[start : start + rows] for column in columns), limited=limited)
        for start in range(0, len(logits), rows)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _draw(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    min_p: Tensor,
    seed: Tensor,
    position: Tensor,
    *,
    limited: bool,
) -> Tensor:
    greedy = temperature == 0
    warmth = torch.where(greedy, 1.0, temperature).double()[:, None]
    relative = (logits.double() - logits.amax(1, keepdim=True).double()) / warmth
    scores = relative + noise(seed, position, logits.shape[1])
    if limited:
        scores = scores.masked_fill(~kept(relative, top_k, top_p, min_p), float("-inf"))
    return torch.where(greedy, logits.argmax(1), scores.argmax(1)).int()


def kept(relative: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """Which ids survive top-k, then top-p of what is left, then min-p: [n, V] bool.

    relative  [n, V] f64  (logit - largest) / temperature
    """
    size = relative.shape[1]
    ordered, order = relative.sort(dim=1, descending=True, stable=True)
    rank = torch.arange(size, device=relative.device)
    most = torch.where(top_k > 0, top_k, size).clamp(max=size)[:, None]
    mass = ordered.exp().masked_fill(rank >= most, 0.0).cumsum(1)
    wanted = top_p.double()[:, None] * mass[:, -1:]
    reached = (mass < wanted).sum(1, keepdim=True) + 1  # the first that reaches the share is kept
    keep = torch.where(top_p[:, None] < 1, torch.minimum(most, reached), most)
    large = ordered >= torch.log(min_p.double())[:, None]  # log 0 is -inf: all
    survives = ((rank < keep) & large) | (rank == 0)
    return torch.zeros_like(survives).scatter_(1, order, survives)


PLAIN: Sampling = {"edit": edit, "mask": mask, "draw": draw}
