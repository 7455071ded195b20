"""Gumbel-max draws for several rows at once, exact, with noise only for ids that can still win.

A row that top-k, top-p or min-p cut to a short list gets noise for the list. A row that is still wide gets noise for
its largest ids first; their best score s then rules out every id whose logit is too small to reach s with the
largest noise there is, and of the rest only words above a bound are looked at more closely.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from dovetail.platform import F32

from .philox import F64, I64, WORD, Word, group_words, noise
from .ranking import Ranking

_NEAR = 64
_FIRST = 256
_LIST = 4096
"""Rows cut to this many ids are lists."""
_GROUPS = 8192


@dataclass(frozen=True, slots=True)
class Choice:
    """How one row is drawn; the fields are those of SamplingColumns."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    low: int
    high: int
    position: int


@dataclass(slots=True)
class Candidates:
    """The ids of one row that may win.

    ids     ascending; all of them, or the largest few if the row is wide
    wide    whether smaller ones may win too
    floor   the smallest logit kept, and `last`, the highest id kept among those equal to it
    """

    ranking: Ranking
    choice: Choice
    ids: I64
    wide: bool = False
    floor: float = -math.inf
    last: int = 2**31 - 1

    def kept(self, ids: I64) -> I64:
        """Those of some ids that are not cut off."""
        if self.floor == -math.inf:
            return ids
        values = self.ranking.row[ids]
        inside = (values > self.floor) | ((values == self.floor) & (ids <= self.last))
        return np.asarray(ids[inside])


def candidates(ranking: Ranking, choice: Choice) -> Candidates:
    """Apply temperature, top-k, top-p and min-p to a row whose peak is finite."""
    limited = 0 < choice.top_k < ranking.row.size
    if not limited and choice.top_p >= 1:
        return _above_share(ranking, choice) if choice.min_p > 0 else _everything(ranking, choice)
    total = math.nan if limited else ranking.mass(choice.temperature)
    for count in (choice.top_k,) if limited else (_FIRST, _LIST):
        ids = ranking.at_least(count) if count <= _LIST else None
        if ids is None or ids.size > 4 * _LIST:
            break
        values = ranking.row[ids]
        order = np.argsort(-values, kind="stable")
        relative = ranking.relative(values[order], choice.temperature)
        keep = _kept(relative, choice, total, complete=limited or ids.size == ranking.row.size)
        if keep is not None:
            return Candidates(ranking, choice, np.sort(ids[order[:keep]]))
    return _cut_sorted(ranking, choice, total)


def _kept(relative: F64, choice: Choice, total: float, *, complete: bool) -> int | None:
    """How many of a row's largest logits survive top-k, top-p and min-p, or None if more logits are needed to know.

    relative  [c]  (logit - peak) / temperature, largest first
    total     sum of exp(relative) over the row; NaN where top-k decides over what it is
    complete  whether no logit beyond these can survive
    """
    keep = relative.size
    if choice.top_k > 0:
        keep = min(keep, choice.top_k)
    least = keep
    if choice.min_p > 0:
        least = int(np.searchsorted(-relative, -math.log(choice.min_p), side="right"))
    if choice.top_p < 1:
        mass = np.cumsum(np.exp(relative[:keep]))
        wanted = choice.top_p * (float(mass[-1]) if math.isnan(total) else total)
        reached = int(np.searchsorted(mass, wanted, side="left")) + 1
        if reached > keep and not complete and least >= keep:
            return None
        keep = min(keep, reached)
    return max(1, min(keep, least))


def _cut_sorted(ranking: Ranking, choice: Choice, total: float) -> Candidates:
    """The same for a row of which very many survive: by the sorted logits, without their ids."""
    ordered = np.sort(ranking.row)[::-1]
    keep = _kept(ranking.relative(ordered, choice.temperature), choice, total, complete=True)
    assert keep is not None
    floor = ordered[keep - 1]
    above = int(np.searchsorted(-ordered, -floor, side="left"))
    last = int(np.flatnonzero(ranking.row == floor)[keep - above - 1])
    return _shortened(
        Candidates(ranking, choice, np.empty(0, np.int64), True, float(floor), last), keep
    )


def _above_share(ranking: Ranking, choice: Choice) -> Candidates:
    """min-p alone needs no order: everything above one bound."""
    bound = ranking.peak + choice.temperature * (math.log(choice.min_p) - 1e-3)
    ids = np.flatnonzero(ranking.row >= np.float32(bound - 1e-5 * abs(bound)))
    values = ranking.row[ids]
    inside = ranking.relative(values, choice.temperature) >= math.log(choice.min_p)
    floor = float(values[inside].min())
    return _shortened(Candidates(ranking, choice, ids[inside], True, floor), int(inside.sum()))


def _everything(ranking: Ranking, choice: Choice) -> Candidates:
    """A row of which nothing was cut."""
    if ranking.sparse and (possible := ranking.possible()).size <= _LIST:
        return Candidates(ranking, choice, possible)
    ids = ranking.at_least(_NEAR)
    return Candidates(ranking, choice, ids, wide=ids.size < ranking.row.size)


def _shortened(found: Candidates, keep: int) -> Candidates:
    """With all `keep` ids if they are few, else with the largest ones."""
    ranking = found.ranking
    if keep <= _LIST:
        found.wide = False
        found.ids = found.kept(np.flatnonzero(ranking.row >= found.floor))
    else:
        found.ids = found.kept(ranking.at_least(_NEAR))
    return found


def draw(rows: list[Candidates]) -> list[int]:
    """The drawn id of each row."""
    found = _best(rows, [row.ids for row in rows])
    wide = [index for index, row in enumerate(rows) if row.wide]
    if wide:
        some = [rows[index] for index in wide]
        more = _survivors(some, [found[index][1] for index in wide])
        lists = [
            row.kept(np.append(ids, found[index][0]))
            for index, row, ids in zip(wide, some, more, strict=True)
        ]
        for index, better in zip(wide, _best(some, lists), strict=True):
            found[index] = better
    return [winner for winner, _ in found]


def _best(rows: list[Candidates], lists: list[I64]) -> list[tuple[int, float]]:
    """The winner among a list of ids for each row, and its score: (logit - peak) / temperature + noise.

    One call of the generator for all of them; ties go to the lowest id.
    """
    if not rows:
        return []
    lengths = [ids.size for ids in lists]
    ids = np.concatenate(lists)
    values = np.concatenate([row.ranking.row[own] for row, own in zip(rows, lists, strict=True)])
    peaks = np.repeat([row.ranking.peak for row in rows], lengths)
    temperatures = np.repeat([row.choice.temperature for row in rows], lengths)
    scores = (values - peaks) / temperatures
    scores += noise(ids, *_words([row.choice for row in rows], lengths))
    result = []
    stop = 0
    for length in lengths:
        start, stop = stop, stop + length
        largest = scores[start:stop].max()
        winner = ids[start:stop][scores[start:stop] == largest].min()
        result.append((int(winner), float(largest)))
    return result


def _words(choices: list[Choice], lengths: list[int]) -> tuple[Word, Word, Word]:
    """Position and key of the draws, each for as many lanes as its row has; scalars for one row."""
    columns = (
        [choice.position & 0xFFFFFFFF for choice in choices],
        [choice.low for choice in choices],
        [choice.high for choice in choices],
    )
    if len(choices) == 1:
        position, low, high = (np.uint64(column[0]) for column in columns)
        return position, low, high
    repeated = [np.repeat(np.array(column, np.uint64), lengths) for column in columns]
    return repeated[0], repeated[1], repeated[2]


def _survivors(rows: list[Candidates], scores: list[float]) -> list[I64]:
    """For wide rows, whose best score so far is given: ids that may beat it, in any order.

    An id beats a score only if -log u <= exp(relative - score), hence only if 1 - u, which is (~word + 0.5) / 2**32,
    is at most that. The bounds are f32 with some slack; what passes them is decided in f64.
    """
    able = [_able(row, score) for row, score in zip(rows, scores, strict=True)]
    found: list[list[I64]] = [[np.empty(0, np.int64)] for _ in rows]
    for pieces in _packs([groups.size for groups, _ in able]):
        groups = np.concatenate([able[row][0][piece] for row, piece in pieces])
        limits = np.concatenate([able[row][1][piece] for row, piece in pieces])
        lengths = [piece.stop - piece.start for _, piece in pieces]
        words_of = _words([rows[row].choice for row, _ in pieces], lengths)
        ends = np.cumsum(lengths)
        for lane, words in enumerate(group_words(groups.astype(np.uint64), *words_of)):
            words ^= WORD
            passed = np.flatnonzero(words.astype(np.float32) <= limits[:, lane])
            cuts = np.searchsorted(passed, ends[:-1])
            for (row, _), some in zip(pieces, np.split(passed, cuts), strict=True):
                if some.size:
                    found[row].append((groups[some] << 2) + lane)
    return [np.concatenate(ids) for ids in found]


def _packs(sizes: list[int]) -> Iterator[list[tuple[int, slice]]]:
    """Cut rows of groups into pieces, and put pieces together to about _GROUPS: few calls, all in cache."""
    pack: list[tuple[int, slice]] = []
    room = _GROUPS
    for row, size in enumerate(sizes):
        start = 0
        while start < size:
            stop = min(size, start + room)
            pack.append((row, slice(start, stop)))
            room -= stop - start
            start = stop
            if room == 0:
                yield pack
                pack, room = [], _GROUPS
    if pack:
        yield pack


def _able(row: Candidates, score: float) -> tuple[I64, F32]:
    """Groups [g] of four ids of which one may still win, and bounds [g, 4] that ~word must not exceed for that."""
    bounds = _bounds(row, score).reshape(-1, 4)
    able = np.flatnonzero(bounds.reshape(-1) >= 0) >> 2
    if able.size >= len(bounds) // 2:
        return np.arange(len(bounds)), bounds
    groups = able[np.flatnonzero(np.diff(able, prepend=-1))]
    return groups, bounds[groups]


def _bounds(row: Candidates, score: float) -> F32:
    """[V rounded up to 4] f32: an id can win only if ~word is at most this; negative where none can."""
    logits = row.ranking.row
    size = logits.size + -logits.size % 4
    bounds: F32 = np.full(size, -1, np.float32)
    inner = bounds[: logits.size]
    np.subtract(logits, np.float32(row.ranking.peak), out=inner)
    inner *= np.float32(1.0 / row.choice.temperature)
    inner += np.float32(32 * math.log(2.0) - score + 1e-4)
    np.exp(inner, out=inner)
    inner -= np.float32(0.4)
    return bounds
