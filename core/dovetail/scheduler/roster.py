"""Every sequence that has not ended, by what it does: wait or run. The only place where that changes."""

from __future__ import annotations

from dataclasses import dataclass

from dovetail.cache import Match

from .line import Line
from .policy import Policy
from .residency import Residency
from .running import Running
from .sequence import Sequence, State


@dataclass(slots=True)
class SchedulerStats:
    """Counters since start.

    prompt_tokens    of requests admitted, once each
    cached_tokens    of those, taken from the cache
    computed_tokens  positions planned, recomputation after a preemption included
    preemptions      sequences sent back to the line for want of blocks
    stalls           rows left out of a step for want of blocks
    copies           blocks copied because a prefix ended in their middle
    """

    steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    computed_tokens: int = 0
    generated_tokens: int = 0
    preemptions: int = 0
    stalls: int = 0
    copies: int = 0


class Roster:
    """The line, the running ones, and the moves between them."""

    def __init__(self, residency: Residency, line: Line, policy: Policy) -> None:
        self.residency = residency
        self.line = line
        self.policy = policy
        self.running = Running(residency.slots)
        self.by_id: dict[str, Sequence] = {}
        self.stats = SchedulerStats()

    def arrive(self, sequence: Sequence) -> None:
        self.by_id[sequence.request.id] = sequence
        self.line.put(sequence)

    def admit(self, sequence: Sequence, match: Match, step: int) -> tuple[int, int] | None:
        """From the line into a slot. Returns the copy that its partial match needs, if any."""
        self.line.remove(sequence)
        copy = self.residency.enter(sequence, match, step)
        sequence.state = State.RUNNING
        self.running.insert(sequence)
        if sequence.cached < 0:
            sequence.cached = int(self.residency.slots.computed[sequence.slot])
            self.stats.prompt_tokens += sequence.num_prompt
            self.stats.cached_tokens += sequence.cached
            self.policy.entered(sequence.request)
        self.stats.copies += copy is not None
        return copy

    def preempt(self, sequence: Sequence) -> None:
        """Back into the line. Tokens of its steps in flight are still good; what they cache is not used."""
        self.running.remove(sequence)
        self.residency.leave(sequence)
        sequence.state = State.WAITING
        sequence.preemptions += 1
        self.line.put(sequence)
        self.stats.preemptions += 1

    def end(self, sequence: Sequence, publish_tail: bool = False) -> None:
        """Wherever it is, it is over."""
        if sequence.state is State.RUNNING:
            self.running.remove(sequence)
            if publish_tail:
                self.residency.publish_tail(sequence)
            self.residency.leave(sequence)
        else:
            self.line.remove(sequence)
        sequence.state = State.DONE
        del self.by_id[sequence.request.id]
        computed = len(sequence.tokens) - sequence.cached if sequence.cached >= 0 else 0
        self.policy.ended(sequence.request, computed, sequence.num_output)
