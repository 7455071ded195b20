"""How far each running sequence goes in the next step, and the blocks it needs for that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .budget import cut_to_scores, scores_in, share
from .pace import Pace
from .roster import Roster
from .running import View
from .sequence import Sequence
from .slots import I32


@dataclass(slots=True)
class Advance:
    """What the running sequences do in a step.

    counts       [R] i32  positions of each row of `view`; 0 for those that sit it out
    tokens_left  of the step's budget
    scores_left  prompt positions that may still be scored in it
    scarce       some row lacked blocks: no one is let in
    """

    view: View
    counts: I32
    tokens_left: int
    scores_left: int
    scarce: bool = False


def advance(roster: Roster, budget: int, scores: int, pace: Pace | None = None) -> Advance:
    """Share the budget out and make room, oldest first.

    pace  may lower the budget of a step in which some decode while prompts are computed
    """
    view = roster.running.view()
    slots = roster.residency.slots
    starts, totals = slots.planned[view.slots], slots.total[view.slots]
    wanted = totals - starts
    wanted[totals >= view.limits] = 0  # the last token it may have is in flight
    if view.any_late:
        wanted[slots.unsampled[view.slots] > 0] = 0
    if view.scoring:
        scores = limit_scores(view, starts, wanted, scores)
    if pace is not None:
        budget = paced(pace, roster, starts, wanted, budget)
    counts = share(wanted, budget)
    step = Advance(view, counts, 0, scores)
    make_room(roster, step, starts + counts)
    step.tokens_left = budget - int(counts.sum())
    return step


def paced(pace: Pace, roster: Roster, starts: I32, wanted: I32, budget: int) -> int:
    """The step's tokens: all of the budget unless there are both sequences that decode and prompts to compute."""
    decoding = wanted == 1
    prompts = np.flatnonzero(wanted > 1)
    if not decoding.any() or not (len(prompts) or len(roster.line)):
        return budget
    past = int(starts[prompts[0]]) if len(prompts) else 0
    return pace.budget(starts[decoding], past, budget)


def limit_scores(view: View, starts: I32, wanted: I32, left: int) -> int:
    """Cut rows that want prompt log-probabilities, each position an output. Returns how many are left."""
    for row, sequence in view.scoring:
        start = int(starts[row])
        count = cut_to_scores(sequence, start, int(wanted[row]), left)
        wanted[row] = count
        left -= len(scores_in(sequence, start, count))
    return left


def make_room(roster: Roster, step: Advance, ends: I32) -> None:
    """Give blocks to the rows that lack some; rows that cannot have them sit the step out.

    The same order decides who is served and, backwards, who is preempted; so a row is never preempted that this step
    has already served.
    """
    slots = roster.residency.slots
    lacking = np.flatnonzero(ends > slots.capacity[step.view.slots])
    for row in lacking.tolist():
        if row >= len(roster.running):
            break  # it and all after it were preempted
        if not extend(roster, step, step.view.sequences[row], int(ends[row])):
            step.counts[row] = 0
            step.scarce = True
            roster.stats.stalls += 1
    step.counts[len(roster.running) :] = 0


def extend(roster: Roster, step: Advance, sequence: Sequence, end: int) -> bool:
    """Blocks for `end` positions, at the expense of later sequences only."""
    residency = roster.residency
    pool = residency.cache.pool
    need = residency.lacks(sequence, end)
    while pool.available < need:
        step.scarce = True
        if pool.available + pool.num_fenced >= need:
            return False  # blocks are on their way
        victim = roster.running.sequences[-1]
        if victim is sequence:
            return False  # the last one waits and keeps what it has
        roster.preempt(victim)
    residency.extend(sequence, need)
    return True
