"""One step: who advances by how many tokens, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dovetail.request import FinishReason

from .sequence import Sequence
from .slots import I32, Slots

Index = NDArray[np.intp]


@dataclass(slots=True)
class Score:
    """Prompt positions of a row whose log-probabilities are wanted: position p scores token p + 1.

    row     index into the plan's rows
    first   first position
    count   how many
    offset  index of the first of them in the step's outputs
    """

    sequence: Sequence
    row: int
    first: int
    count: int
    offset: int


@dataclass(slots=True)
class Row:
    """One row of a plan, as an object; steps are planned in arrays, so these are made on demand.

    sampled  set by the engine once it has issued the sampling of a late row (the token need not be known)
    """

    step: int
    sequence: Sequence
    index: int
    slot: int
    start: int
    count: int
    samples: bool
    _slots: Slots = field(repr=False)
    _sampled: bool = False

    @property
    def sampled(self) -> bool:
        return self._sampled

    @sampled.setter
    def sampled(self, value: bool) -> None:
        self._sampled = value
        if self._slots.last_step[self.slot] == self.step:
            self._slots.unsampled[self.slot] = not value


@dataclass(slots=True)
class Plan:
    """The rows of one step. `pack` makes a Batch of it before the scheduler is called again.

    step       counts up from 1
    sequences  of each row
    slots      [R] intp
    starts     [R] i32  positions in the cache before the step
    counts     [R] i32  new positions, at least 1
    sampling   [n] intp  rows that draw a token, ascending; `commit` takes the tokens in this order
    drawing    their sequences
    scores     prompt log-probabilities wanted; in the step's outputs they come after the drawn rows
    copies     per cache group [C, 2] i32 (source, target) blocks
    admitted   sequences that got their slot in this step
    late       rows of `sampling` that must be sampled after the token before is known; set `sampled` on each
    closing    sequences whose prompt ends in this step and that draw nothing
    by_slot    the columns that `pack` gathers from
    block_size S
    """

    step: int
    sequences: list[Sequence]
    slots: Index
    starts: I32
    counts: I32
    sampling: Index
    drawing: list[Sequence]
    scores: list[Score]
    copies: tuple[I32, ...]
    admitted: list[Sequence]
    late: list[Row]
    closing: list[Sequence]
    by_slot: Slots
    block_size: int

    @property
    def num_rows(self) -> int:
        return len(self.slots)

    @property
    def num_tokens(self) -> int:
        """T, the new positions of all rows."""
        return int(self.counts.sum())

    @property
    def num_outputs(self) -> int:
        """N, drawn rows and scored positions."""
        return len(self.sampling) + sum(score.count for score in self.scores)

    @property
    def tables(self) -> tuple[I32, ...]:
        """Per cache group the block tables by slot, [slots, M]."""
        return (self.by_slot.table,)

    def row(self, index: int, samples: bool) -> Row:
        """A row as an object."""
        return Row(
            self.step,
            self.sequences[index],
            index,
            int(self.slots[index]),
            int(self.starts[index]),
            int(self.counts[index]),
            samples,
            self.by_slot,
        )

    @property
    def rows(self) -> list[Row]:
        """All rows as objects, for tests and traces."""
        drawn = set(self.sampling.tolist())
        return [self.row(index, index in drawn) for index in range(self.num_rows)]


@dataclass(slots=True)
class Commit:
    """New tokens of one sequence.

    tokens   usually one; more where a grammar forced some, none where only a prompt was computed
    finish   why it is over now, None if it goes on
    stop_id  the token that ended it, with FinishReason.STOP
    cached   with a sequence's first commit: prompt tokens taken from the cache; -1 later
    """

    sequence: Sequence
    tokens: list[int]
    finish: FinishReason | None = None
    stop_id: int | None = None
    cached: int = -1

    @property
    def first(self) -> bool:
        return self.cached >= 0
