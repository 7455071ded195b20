"""Which attention tiles a step has: made once per step, shared by its layers.

A row of few new tokens is narrow: one tile, its context split over several programs. A row of many is wide: as many
tiles as it needs, each over its whole context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from dovetail.platform import I32
from torch import Tensor

from dovetail_sdk.tuning import Parameter

from .launch import ceil_div
from .tables import tuned, whole

NARROW_LANES = 16
"""Rows of the smallest matrix tile: tokens times heads of a narrow tile where the group has no more."""
NARROW_HEADS = 64
MOST_SPLITS = 64


class Rows(Protocol):
    """What a plan needs of a step; dovetail_sdk.torch's DeviceStep has it.

    rows      R of the arrays
    most_new  no row has more new tokens
    longest   no row's context is longer
    starts    [R + 1] i32 on the device
    host      the step with its arrays on the host, None where only the device has them; then every row has one token
    """

    @property
    def rows(self) -> int: ...
    @property
    def most_new(self) -> int: ...
    @property
    def longest(self) -> int: ...
    @property
    def starts(self) -> Tensor: ...
    @property
    def host(self) -> Any: ...
    def once(self, key: object, make: Callable[[], Any]) -> Any: ...
    def upload(self, array: Any) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles of one kind.

    tiles   [count, 2] i32 on the device: a row and the first of its new tokens; row -1 is no tile
    tokens  new tokens of a tile at most
    heads   query heads of a tile at most, all of one key head
    tile    keys that are read at once
    splits  programs that share a tile's context
    """

    tiles: Tensor
    count: int
    tokens: int
    heads: int
    tile: int
    splits: int
    tuning: Mapping[str, Parameter]


@dataclass(frozen=True, slots=True)
class Plan:
    """Every token of the step that is in a row is in exactly one tile."""

    parts: tuple[Tiles, ...]


def make_plan(
    step: Rows,
    architecture: str,
    *,
    heads: int,
    kv_heads: int,
    width: int,
    value_width: int,
    window: int | None = None,
) -> Plan:
    """The plan of a step for layers of these shapes: H, K, D, Dv."""
    group, widest = heads // kv_heads, max(width, value_width)
    narrow = tuned("attention_narrow", architecture, D=widest)
    reach = step.longest if window is None else min(step.longest, window + NARROW_LANES)
    if step.host is None or step.most_new == 1:
        tiles = step.once(("tiles", "one"), lambda: _one_token_tiles(step.rows, step.starts.device))
        return Plan((_narrow(tiles, 1, reach, group, kv_heads, narrow),))
    wide = tuned("attention_wide", architecture, D=widest)
    return _mixed_plan(step, group, kv_heads, narrow, wide, reach)


def _one_token_tiles(rows: int, device: torch.device) -> Tensor:
    row = torch.arange(rows, dtype=torch.int32, device=device)
    return torch.stack([row, torch.zeros_like(row)], 1)


def _mixed_plan(
    step: Rows,
    group: int,
    kv_heads: int,
    narrow: Mapping[str, Parameter],
    wide: Mapping[str, Parameter],
    reach: int,
) -> Plan:
    starts, past = step.host.starts, step.host.past
    new = np.diff(starts)
    is_narrow = new <= max(1, NARROW_LANES // group)
    parts = []
    few = np.flatnonzero(is_narrow).astype(np.int32)
    if few.size:
        longest = min(int((past + new)[few].max()), reach)
        tiles = step.upload(np.stack([few, np.zeros_like(few)], 1))
        parts.append(_narrow(tiles, int(new[few].max()), longest, group, kv_heads, narrow))
    if few.size < new.size:
        lanes = whole(wide, "rows")
        tokens = max(1, lanes // group)
        host = wide_tiles(np.flatnonzero(~is_narrow).astype(np.int32), new, past, tokens)
        parts.append(
            Tiles(
                step.upload(host), len(host), tokens, min(group, lanes), whole(wide, "tile"), 1, wide
            )
        )  # fmt: skip
    return Plan(tuple(parts))


def _narrow(
    tiles: Tensor,
    most_new: int,
    reach: int,
    group: int,
    kv_heads: int,
    tuning: Mapping[str, Parameter],
) -> Tiles:
    heads = min(group, NARROW_HEADS)
    tokens = 1 if most_new == 1 else max(1, NARROW_LANES // group)
    programs = tiles.shape[0] * kv_heads * ceil_div(group, heads)
    splits = min(
        ceil_div(whole(tuning, "programs"), programs),
        ceil_div(reach, whole(tuning, "least")),
        MOST_SPLITS,
    )
    return Tiles(
        tiles, tiles.shape[0], tokens, heads, whole(tuning, "tile"), max(1, splits), tuning
    )


def wide_tiles(rows: I32, new: I32, past: I32, tokens: int) -> I32:
    """Tiles [n, 2] of some rows, `tokens` new tokens each; those with the longest context first, as they take longest."""
    counts = -(-new[rows] // tokens)
    row = np.repeat(rows, counts)
    index = np.arange(row.size) - np.repeat(np.cumsum(counts) - counts, counts)
    order = np.argsort(-(past[row] + index * tokens), kind="stable")
    return np.stack([row[order], index[order] * tokens], 1).astype(np.int32)
