"""From what running and admitted sequences do in a step to its Plan."""

from __future__ import annotations

from itertools import compress

import numpy as np

from .admission import Admitted
from .advance import Advance
from .budget import scores_in
from .plan import Index, Plan, Row, Score
from .sequence import Sequence
from .slots import I32, Slots


def build_plan(step: int, slots: Slots, running: Advance, admitted: Admitted) -> Plan | None:
    """The plan of a step, entered into the columns. None if no row advances."""
    sequences, rows, counts = chosen_rows(running, admitted)
    if not sequences:
        return None
    starts = slots.planned[rows]
    ends = starts + counts
    draws = ends == slots.total[rows]
    closing: list[Sequence] = []
    if admitted.sequences or not running.view.all_draw:
        closing = list(compress(sequences, draws & (slots.draws[rows] == 0)))
        draws &= slots.draws[rows] > 0
    slots.planned[rows] = ends
    slots.total[rows] += draws
    slots.last_step[rows] = step
    everyone = bool(draws.all())
    plan = Plan(
        step=step,
        sequences=sequences,
        slots=rows,
        starts=starts,
        counts=counts,
        sampling=np.flatnonzero(draws),
        drawing=sequences if everyone else list(compress(sequences, draws)),
        scores=[],
        copies=(np.array(admitted.copies, np.int32).reshape(-1, 2),),
        admitted=admitted.sequences,
        late=[],
        closing=closing,
        by_slot=slots,
        block_size=slots.block_size,
    )
    if admitted.sequences or running.view.any_late:
        plan.late = late_rows(plan)
    if admitted.sequences or running.view.scoring:
        plan.scores = scores_of(plan)
    return plan


def chosen_rows(running: Advance, admitted: Admitted) -> tuple[list[Sequence], Index, I32]:
    """Sequence, slot and count of each row: the running ones that advance, then the admitted ones."""
    sequences, rows, counts = running.view.sequences, running.view.slots, running.counts
    if not counts.all():
        chosen = counts > 0
        sequences = list(compress(sequences, chosen))
        rows, counts = rows[chosen], counts[chosen]
    if admitted.sequences:
        sequences = sequences + admitted.sequences
        entered = np.array([sequence.slot for sequence in admitted.sequences], np.intp)
        rows = np.concatenate((rows, entered))
        counts = np.concatenate((counts, np.array(admitted.counts, np.int32)))
    return sequences, rows, counts


def late_rows(plan: Plan) -> list[Row]:
    """Rows that draw after the token before is known; until then their sequence is not planned again."""
    slots = plan.by_slot
    drawn = plan.slots[plan.sampling]
    late = np.flatnonzero(slots.late[drawn])
    slots.unsampled[drawn[late]] = 1
    return [plan.row(index, samples=True) for index in plan.sampling[late].tolist()]


def scores_of(plan: Plan) -> list[Score]:
    """Prompt positions to score, placed after the drawn rows in the step's outputs."""
    scores, offset = [], len(plan.sampling)
    for row, sequence in enumerate(plan.sequences):
        if sequence.scoring:
            wanted = scores_in(sequence, int(plan.starts[row]), int(plan.counts[row]))
            if wanted:
                scores.append(Score(sequence, row, wanted.start, len(wanted), offset))
                offset += len(wanted)
    return scores
