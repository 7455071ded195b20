"""Gumbel-max draws for several rows at once, exact, with noise only for ids that can still win.

A row that top-k, top-p or min-p cut to a short list gets noise for the list. A row that is still wide gets noise for
its largest ids first; their best score s then rules out every id whose logit is too small to reach s with the
largest noise there is, and of the rest only words above a bound are looked at more closely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from dovetail.platform import F32

from .philox import F64, I64, WORD, group_words, noise
from .ranking import SMALL, Ranking

_NEAR = 64
_FIRST = 256
_GROUPS = 16384


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
        values = self.ranking.row[ids]
        inside = (values > self.floor) | ((values == self.floor) & (ids <= self.last))
        return np.asarray(ids[inside])


def candidates(ranking: Ranking, choice: Choice) -> Candidates:
    """Apply temperature, top-k, top-p and min-p to a row whose peak is finite."""
    limited = 0 < choice.top_k < ranking.row.size
    if not limited and choice.top_p >= 1:
        return _above_share(ranking, choice) if choice.min_p > 0 else _everything(ranking, choice)
    total = math.nan if limited else ranking.mass(choice.temperature)
    for count in (choice.top_k,) if limited else (_FIRST, SMALL):
        ids = ranking.at_least(count) if count <= SMALL else None
        if ids is None or ids.size > 4 * SMALL:
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
    found = Candidates(ranking, choice, np.empty(0, np.int64), True)
    return _shortened(found, ranking.row.size)


def _shortened(found: Candidates, keep: int) -> Candidates:
    """With all `keep` ids if they are few, else with the largest ones."""
    ranking = found.ranking
    if keep <= SMALL:
        found.wide = False
        found.ids = found.kept(np.flatnonzero(ranking.row >= found.floor))
    else:
        found.ids = found.kept(ranking.at_least(_NEAR))
    return found


def draw(rows: list[Candidates]) -> list[int]:
    """The drawn id of each row."""
    if not rows:
        return []
    ids = np.concatenate([row.ids for row in rows])
    lengths = [row.ids.size for row in rows]
    choices = [row.choice for row in rows]
    position, low, high = (
        np.repeat(np.array(words, np.uint64), lengths)
        for words in (
            [choice.position & 0xFFFFFFFF for choice in choices],
            [choice.low for choice in choices],
            [choice.high for choice in choices],
        )
    )
    drawn = noise(ids, position, low, high)
    result = []
    stop = 0
    for row, length in zip(rows, lengths, strict=True):
        start, stop = stop, stop + length
        scores = row.ranking.relative(row.ranking.row[row.ids], row.choice.temperature)
        scores += drawn[start:stop]
        best = int(scores.argmax())
        winner, score = int(row.ids[best]), float(scores[best])
        result.append(_draw_wide(row, winner, score) if row.wide else winner)
    return result


def _draw_wide(row: Candidates, winner: int, score: float) -> int:
    """Whether an id that was not among the largest beats the best of those.

    It does only if -log u <= exp(relative - score), hence only if 1 - u, which is (~word + 0.5) / 2**32, is at
    most that. The bounds are f32 with some slack; what passes them is decided in f64.
    """
    found = _survivors(row, _bounds(row, score))
    found = row.kept(np.union1d(found, [winner]))
    scores = row.ranking.relative(row.ranking.row[found], row.choice.temperature)
    scores += noise(found, *_words(row.choice))
    return int(found[scores.argmax()])


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


def _survivors(row: Candidates, bounds: F32) -> I64:
    """Ids whose word is within its bound, ascending."""
    able = np.flatnonzero(bounds >= 0) >> 2
    by_group = bounds.reshape(-1, 4)
    if able.size < len(by_group) // 2:
        groups = np.unique(able)
        by_group = by_group[groups]
    else:
        groups = np.arange(len(by_group))
    found = [np.empty(0, np.int64)]
    for start in range(0, groups.size, _GROUPS):
        some = groups[start : start + _GROUPS]
        limits = by_group[start : start + _GROUPS]
        for lane, words in enumerate(group_words(some.astype(np.uint64), *_words(row.choice))):
            words ^= WORD
            passed = np.flatnonzero(words.astype(np.float32) <= limits[:, lane])
            found.append((some[passed] << 2) + lane)
    return np.sort(np.concatenate(found))


def _words(choice: Choice) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Position and key of a draw."""
    return np.uint64(choice.position & 0xFFFFFFFF), np.uint64(choice.low), np.uint64(choice.high)
