"""Sampling on the host: what a platform with logits in host memory answers `Pending.sample` with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from dovetail.platform import F32, I32, LateEdits, SamplingColumns, Tokens
from numpy.typing import NDArray

from .draw import Candidates, Choice, candidates, draw
from .edits import Edited, Scratch, peak_of
from .ranking import Ranking


@dataclass(frozen=True, slots=True)
class Peaks:
    """The largest logit of each of N rows, where a platform has looked for it already.

    values  [N]  f32  it; NaN where the row has one
    ids     [N]  i32  its id, the lowest of several
    """

    values: F32
    ids: I32

    @classmethod
    def of(cls, rows: int) -> Peaks:
        """Room for so many rows."""
        return cls(np.empty(rows, np.float32), np.empty(rows, np.int32))


class HostSampler:
    """Draws and scores tokens with NumPy, by the rules of SamplingColumns, LateEdits and Tokens.

    One thread at a time. The logits are never written to and may be a view of device memory.
    """

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self._scratch = Scratch(vocab_size)

    def sample(
        self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Tokens:
        """One token for each of n rows.

        logits  [N, V]  f32
        rows    [n]     i32  indices into logits
        raises  ValueError for logits of another width

        A row with NaN, +inf or nothing but -inf is marked not finite; its neighbours are as if it were not there.
        """
        return self.sample_peaked(logits, rows, columns, late, None)

    def sample_peaked(
        self,
        logits: F32,
        rows: I32,
        columns: SamplingColumns,
        late: LateEdits | None,
        peaks: Peaks | None,
    ) -> Tokens:
        """The same tokens, found sooner with the peaks of all N rows as they are before edits."""
        if logits.shape[-1] != self.vocab_size:
            raise ValueError(
                f"logits are {logits.shape[-1]} wide; the sampler was made for {self.vocab_size}"
            )
        with np.errstate(all="ignore"):
            tokens = empty_tokens(rows.size, max(0, int(columns.logprobs.max(initial=-1))))
            sampled = _Rows(logits, rows, tokens, peaks)
            if late is not None and (late.rows.size or late.mask_rows.size):
                sampled.edited = Edited(logits, rows.tolist(), late, self._scratch)
            chosen = columns.target < 0
            if peaks is not None:
                chosen &= ~_take_peaks(peaks, rows, columns, late, tokens)
            _fill_ids(sampled, columns, chosen, tokens)
            _fill_logprobs(sampled, columns, tokens)
        return tokens


def empty_tokens(count: int, alternatives: int) -> Tokens:
    """Tokens of n rows with nothing in them yet: ids 0, NaN and -1 where nothing is asked for."""
    return Tokens(
        ids=np.zeros(count, np.int32),
        logprobs=np.full(count, np.nan, np.float32),
        top_ids=np.full((count, alternatives), -1, np.int32),
        top_logprobs=np.full((count, alternatives), np.nan, np.float32),
        not_finite=np.zeros(count, np.bool_),
    )


class _Rows:
    """The sampled rows, edited ones in their edited form, each ranked at most once."""

    def __init__(self, logits: F32, rows: I32, tokens: Tokens, peaks: Peaks | None) -> None:
        self.edited: Edited | None = None
        self._logits = logits
        self._rows: list[int] = rows.tolist()
        self._tokens = tokens
        self._rankings: dict[int, Ranking] = {}
        self._given = peaks
        self._peaks: dict[int, int] = {}

    def peak(self, index: int) -> int:
        """Id of the largest logit before edits, which may hide what makes a row fail: such a row is marked here."""
        if index not in self._peaks:
            self._peaks[index], finite = self._peak(self._rows[index])
            if not finite:
                self._tokens.not_finite[index] = True
        return self._peaks[index]

    def _peak(self, row: int) -> tuple[int, bool]:
        if self._given is not None and math.isfinite(self._given.values[row]):
            return int(self._given.ids[row]), True
        return peak_of(self._logits[row])

    def values(self, index: int) -> F32:
        """[V]"""
        if self.edited is None or index not in self.edited:
            row: F32 = self._logits[self._rows[index]]
            return row
        self.peak(index)
        return self.edited.values(index)

    def ranking(self, index: int) -> Ranking:
        """The row's ranking; marks the row if its largest logit is not a number."""
        found = self._rankings.get(index)
        if found is None:
            found = self._rankings[index] = Ranking(self.values(index))
            if not math.isfinite(found.peak):
                self._tokens.not_finite[index] = True
        return found

    def largest(self, index: int) -> int:
        """Id of the largest logit."""
        if self.edited is not None and index in self.edited:
            before = self.peak(index)
            if not self._tokens.not_finite[index] and self.edited.keeps(index, before):
                return before
        values = self.values(index)
        winner, finite = peak_of(values)
        if finite:
            return winner
        self._tokens.not_finite[index] = True
        return 0 if np.isnan(values).all() else int(np.nanargmax(values))


def _take_peaks(
    peaks: Peaks, rows: I32, columns: SamplingColumns, late: LateEdits | None, tokens: Tokens
) -> NDArray[np.bool_]:
    """The ids of unedited greedy rows with a finite peak, which is what is known of them all; returns which, [n]."""
    greedy = (columns.target < 0) & (columns.temperature == 0)
    taken: NDArray[np.bool_] = greedy & np.isfinite(peaks.values[rows])
    if late is not None:
        taken[late.rows] = taken[late.mask_rows] = False
    np.copyto(tokens.ids, peaks.ids[rows], where=taken)
    return taken


def _fill_ids(
    sampled: _Rows, columns: SamplingColumns, chosen: NDArray[np.bool_], tokens: Tokens
) -> None:
    """Choose the id of the chosen rows, all draws at once, and copy that of a target."""
    np.copyto(tokens.ids, columns.target, where=columns.target >= 0)
    for index in np.flatnonzero(chosen & (columns.temperature == 0)).tolist():
        tokens.ids[index] = sampled.largest(index)
    drawn: dict[int, Candidates] = {}
    for index in np.flatnonzero(chosen & (columns.temperature != 0)).tolist():
        ranking = sampled.ranking(index)
        if tokens.not_finite[index]:
            tokens.ids[index] = sampled.largest(index)
        else:
            drawn[index] = candidates(ranking, _choice(columns, index))
    for index, token in zip(drawn, draw(list(drawn.values())), strict=True):
        tokens.ids[index] = token


def _choice(columns: SamplingColumns, index: int) -> Choice:
    return Choice(
        temperature=float(columns.temperature[index]),
        top_k=int(columns.top_k[index]),
        top_p=float(columns.top_p[index]),
        min_p=float(columns.min_p[index]),
        low=int(columns.seed[index, 0]),
        high=int(columns.seed[index, 1]),
        position=int(columns.position[index]),
    )


def _fill_logprobs(sampled: _Rows, columns: SamplingColumns, tokens: Tokens) -> None:
    """Log-probabilities of the ids, and alternatives, for targets and where they are asked for."""
    for index in np.flatnonzero((columns.target >= 0) | (columns.logprobs >= 0)).tolist():
        ranking = sampled.ranking(index)
        if tokens.not_finite[index]:
            continue
        logsum = ranking.peak + math.log(ranking.mass())
        tokens.logprobs[index] = float(ranking.row[tokens.ids[index]]) - logsum
        count = min(int(columns.logprobs[index]), ranking.row.size)
        if count > 0:
            ids, values = ranking.largest(count)
            tokens.top_ids[index, :count] = ids
            tokens.top_logprobs[index, :count] = values.astype(np.float64) - logsum
