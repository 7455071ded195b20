"""Who is let in from the line."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .advance import Advance
from .budget import cut_to_scores, scores_in
from .roster import Roster
from .sequence import Sequence, State

MOST_RANKED = 32
"""Sequences at the head of the line that are compared at a step."""
MOST_PASSED = 16


@dataclass(slots=True)
class Admitted:
    """Sequences that entered in a step, with how many positions each computes in it, and the copies they need."""

    sequences: list[Sequence] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    copies: list[tuple[int, int]] = field(default_factory=list)


class Admission:
    """Lets sequences in while there is room: of those that are equal but for their arrival, the ones first of whose
    prompt most is cached, before it is evicted; nobody is passed in more than MOST_PASSED steps. Who does not fit stops the
    line; besides, only these are overtaken: those that wait for a block another is computing, those with a step still in flight from before a preemption, and
    those whose prompt would be scored when the step scores enough already.

    watermark       blocks left free for those that run, as long as some do
    most_followers  with this many waiting for others' blocks, the rest of the line is not asked
    """

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self.watermark = roster.residency.cache.total // 100
        self.most_followers = len(roster.residency.slots.free)

    def admit(self, step: int, running: Advance) -> Admitted:
        """Let in who fits. Each enters with its first row, so that no one holds blocks without advancing."""
        admitted = Admitted()
        roster, free_slots = self.roster, self.roster.residency.slots.free
        if not len(roster.line) or not free_slots or running.tokens_left <= 0:
            return admitted
        owed = self.owed()
        standing = roster.line.standing()
        order = standing if self._all_fit(standing, running, owed) else self._ranked(standing)
        for sequence in order:
            if running.tokens_left <= 0 or not free_slots:
                break
            if roster.line.num_followers >= self.most_followers:
                break
            if sequence.slot or (sequence.scoring and running.scores_left <= 0):
                continue
            if not self._enter(sequence, step, owed, admitted):
                break
            if sequence.slot:
                owed += self._first_row(sequence, running, admitted)
        count_passed(standing, admitted.sequences)
        return admitted

    def _all_fit(self, standing: list[Sequence], running: Advance, owed: int) -> bool:
        """Whether all can enter at once, even with nothing in the cache and without evicting anything: then none goes first."""
        residency = self.roster.residency
        if len(standing) > len(residency.slots.free):
            return False
        tokens = sum([len(sequence.tokens) for sequence in standing])
        blocks = tokens // residency.cache.block_size + 2 * len(standing)
        room = residency.cache.pool.num_free - owed - self.watermark
        return tokens <= running.tokens_left and blocks <= room

    def _ranked(self, standing: list[Sequence]) -> list[Sequence]:
        """The order in which to ask."""
        if len(standing) < 2:
            return standing
        head, alike = standing[0], 0
        for sequence in standing[:MOST_RANKED]:
            if sequence.order[:-1] != head.order[:-1]:
                break
            alike += 1
        if alike < 2 or not self.roster.residency.prefix_caching or head.passed >= MOST_PASSED:
            return standing
        first = sorted(standing[:alike], key=self._uncached)
        return first + standing[alike:]

    def _uncached(self, sequence: Sequence) -> int:
        """Less for those of whom more is cached."""
        match = self.roster.residency.match(sequence)
        return -len(match.path) * self.roster.residency.cache.block_size - match.count

    def owed(self) -> int:
        """Blocks that running sequences still lack for the tokens they have."""
        view, slots = self.roster.running.view(), self.roster.residency.slots
        size = self.roster.residency.cache.block_size
        lacking = slots.known[view.slots] - slots.capacity[view.slots]
        return int((-(-np.maximum(lacking, 0) // size)).sum())

    def _enter(self, sequence: Sequence, step: int, owed: int, admitted: Admitted) -> bool:
        """Let it in, or make it follow whoever computes its next block. False if it does not fit."""
        roster = self.roster
        match = roster.residency.match(sequence)
        if not sequence.scoring:
            leader = roster.line.frontiers.of(match.node, sequence.tokens, len(match.path))
            if leader is not None:
                roster.line.follow(sequence, leader)
                return True
        reserved = owed + (self.watermark if len(roster.running) else 0)
        if not roster.residency.fits(sequence, match, reserved):
            return False
        copy = roster.admit(sequence, match, step)
        if copy is not None:
            admitted.copies.append(copy)
        return True

    def _first_row(self, sequence: Sequence, running: Advance, admitted: Admitted) -> int:
        """Plan its first row. Returns the blocks that it lacks after it for the tokens it has."""
        residency = self.roster.residency
        start = int(residency.slots.planned[sequence.slot])
        count = min(len(sequence.tokens) - start, running.tokens_left)
        count = cut_to_scores(sequence, start, count, running.scores_left)
        running.tokens_left -= count
        running.scores_left -= len(scores_in(sequence, start, count))
        residency.extend(sequence, max(0, residency.lacks(sequence, start + count)))
        admitted.sequences.append(sequence)
        admitted.counts.append(count)
        return max(0, residency.lacks(sequence, len(sequence.tokens)))


def count_passed(standing: list[Sequence], admitted: list[Sequence]) -> None:
    """Note who still stands where a later one was let in. standing: as before the step, in order."""
    if not admitted:
        return
    last = max(sequence.order for sequence in admitted)
    for sequence in standing:
        if sequence.order > last:
            break
        if sequence.state is State.WAITING and sequence.awaits is None:
            sequence.passed += 1
