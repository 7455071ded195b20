"""What the tokens of a step change."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dovetail.request import FinishReason

from .plan import Commit, Plan
from .roster import Roster
from .sequence import Sequence, State
from .slots import I32, Slots


def settle(
    roster: Roster, plan: Plan, tokens: I32, forced: Mapping[int, list[int]]
) -> list[Commit]:
    """Enter a step's tokens: append, publish full blocks, finish. The step has been acknowledged."""
    slots = roster.residency.slots
    drawn = plan.slots[plan.sampling]
    slots.computed[plan.slots] += plan.counts
    slots.known[drawn] += 1
    slots.last_token[drawn] = tokens
    commits = append(plan, tokens)
    if forced:
        append_forced(plan, slots, commits, forced)
    roster.stats.generated_tokens += sum(len(commit.tokens) for commit in commits)
    for score in plan.scores:
        score.sequence.scored = max(score.sequence.scored, score.first + score.count)
    for row in plan.late:
        if slots.last_step[row.slot] == plan.step:
            slots.unsampled[row.slot] = 0
    publish_full(roster, plan)
    commits += close(plan)
    for commit in commits:
        if commit.finish is not None:
            finish(roster, commit.sequence)
    roster.residency.settle(plan.step)
    return commits


def append(plan: Plan, tokens: I32) -> list[Commit]:
    """One commit per token that is still wanted."""
    commits: list[Commit] = []
    done = State.DONE
    for sequence, token in zip(plan.drawing, tokens.tolist(), strict=True):
        if sequence.state is done:
            continue  # it ended while this was in flight
        sequence.tokens.append(token)
        commit = Commit(sequence, [token])
        commits.append(commit)
        if (
            token in sequence.stop_ids
            or len(sequence.tokens) >= sequence.limit
            or sequence.complete
        ):
            judge(commit, token)
        if not sequence.reported:
            report(commit)
    return commits


def append_forced(
    plan: Plan, slots: Slots, commits: list[Commit], forced: Mapping[int, list[int]]
) -> None:
    """Append what must follow a token; the next step computes it like a piece of prompt. No later step is in flight."""
    by_sequence = {id(commit.sequence): commit for commit in commits}
    for index, tokens in forced.items():
        sequence = plan.drawing[index]
        commit = by_sequence.get(id(sequence))
        if commit is None:
            continue
        sequence.tokens += tokens
        commit.tokens += tokens
        slot = plan.slots[plan.sampling[index]]
        slots.known[slot] += len(tokens)
        slots.total[slot] += len(tokens)
        slots.last_token[slot] = tokens[-1]
        if commit.finish is None and len(sequence.tokens) >= sequence.limit:
            commit.finish = FinishReason.LENGTH


def judge(commit: Commit, token: int) -> None:
    """Whether a token that may end its sequence does."""
    sequence = commit.sequence
    sampling = sequence.request.sampling
    enough = sequence.num_output >= sampling.min_tokens or sampling.grammar is not None
    if token in sequence.stop_ids and enough:
        commit.finish, commit.stop_id = FinishReason.STOP, token
    elif sequence.complete:
        commit.finish = FinishReason.STOP
    elif len(sequence.tokens) >= sequence.limit:
        commit.finish = FinishReason.LENGTH


def report(commit: Commit) -> None:
    """The first commit of a sequence says how much of its prompt was cached."""
    commit.cached = commit.sequence.cached
    commit.sequence.reported = True


def close(plan: Plan) -> list[Commit]:
    """Sequences that only computed their prompt, and have."""
    commits = []
    for sequence in plan.closing:
        if sequence.state is State.RUNNING:
            commit = Commit(sequence, [], FinishReason.LENGTH)
            report(commit)
            commits.append(commit)
    return commits


def publish_full(roster: Roster, plan: Plan) -> None:
    """Publish the blocks that this step filled."""
    slots = roster.residency.slots
    computed = slots.computed[plan.slots]
    for row in np.flatnonzero(computed >= slots.full_at[plan.slots]).tolist():
        roster.residency.publish(plan.sequences[row], int(computed[row]))


def finish(roster: Roster, sequence: Sequence) -> None:
    """End a sequence that has all its tokens, also one that was preempted meanwhile."""
    roster.end(sequence, publish_tail=True)
