"""Who advances by how many tokens in the next step, and what the tokens of a step change.

There is no prefill and no decode. A sequence has tokens and computed positions, and a step spends one budget letting
the second catch up with the first. Steps may be planned before the tokens of those before are known: up to
`steps_in_flight` plans are out at once, and they are the ledger of what is under way. Nothing is done with a
sequence's slot or blocks until the last plan with a row of it has come back.

    pace.py       how many tokens a step may take, by what steps cost (cost.py)
    advance.py    how far the running ones go, oldest first; who is preempted
    admission.py  who is let in
    building.py   the Plan
    settling.py   what its tokens change
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from dovetail.cache import KVCache
from dovetail.errors import InvalidParameter, PromptTooLong
from dovetail.request import Request

from .admission import Admission, Admitted
from .advance import advance
from .building import build_plan
from .cost import Work
from .line import Line
from .pace import Pace
from .plan import Commit, Plan
from .policy import Arrival, Policy
from .residency import Residency
from .roster import Roster, SchedulerStats
from .sequence import Sequence, State, sequence_of
from .settling import settle
from .slots import I32, Slots

ARRIVAL = Arrival()
NOTHING: Mapping[int, list[int]] = {}


class Scheduler:
    """Plans steps and commits their tokens. One thread calls it; plans are committed in the order they were made.

    num_blocks             blocks of the cache, the scrap block 0 included
    most_cached            of them that keep prefixes nobody uses while others are free; None: all
    max_num_seqs           slots are 1 .. max_num_seqs
    prompt_logprobs_chunk  prompt positions that are scored per step at most, over all rows; so a step has at most
                           max_num_seqs + prompt_logprobs_chunk outputs
    pace                   lowers the budget of steps in which prompts would hold up running streams; None: never
    """

    def __init__(
        self,
        *,
        num_blocks: int,
        block_size: int,
        most_cached: int | None = None,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        max_model_len: int,
        steps_in_flight: int = 1,
        prefix_caching: bool = True,
        policy: Policy = ARRIVAL,
        prompt_logprobs_chunk: int = 64,
        pace: Pace | None = None,
    ) -> None:
        self.max_num_batched_tokens = max_num_batched_tokens
        self.max_model_len = max_model_len
        self.steps_in_flight = steps_in_flight
        self.prompt_logprobs_chunk = prompt_logprobs_chunk
        self.policy = policy
        self.pace = pace
        self.cache = KVCache(num_blocks, block_size, most_cached)
        self.slots = Slots(max_num_seqs, self.cache.blocks_for(max_model_len), block_size)
        line = Line(block_size)
        self.residency = Residency(self.cache, self.slots, line, prefix_caching)
        self.roster = Roster(self.residency, line, policy)
        self.admission = Admission(self.roster)
        self._in_flight: deque[Plan] = deque()
        self._arrivals = 0
        self._launched = 0

    @property
    def running(self) -> list[Sequence]:
        """Sequences with a slot that advance, first in order first. Not to be changed."""
        return self.roster.running.sequences

    @property
    def waiting(self) -> list[Sequence]:
        """Sequences that wait for a slot, for blocks or for a prefix that another computes."""
        return list(self.roster.line)

    @property
    def num_running(self) -> int:
        return len(self.roster.running)

    @property
    def num_waiting(self) -> int:
        return len(self.roster.line)

    @property
    def in_flight(self) -> list[Plan]:
        """Plans that have not been committed, oldest first."""
        return list(self._in_flight)

    @property
    def has_work(self) -> bool:
        """Whether there is a sequence that has not ended, or a plan to commit."""
        return bool(self.roster.by_id or self._in_flight)

    @property
    def stats(self) -> SchedulerStats:
        return self.roster.stats

    # ------------------------------------------------------------------------------------------ requests

    def add(self, request: Request) -> Sequence:
        """Put a request in the line. Raises PromptTooLong or InvalidParameter if it can never run here."""
        self._refuse_misfit(request)
        self._arrivals += 1
        sequence = sequence_of(request, self.policy.order(request, self._arrivals))
        self.roster.arrive(sequence)
        return sequence

    def cancel(self, request_id: str) -> bool:
        """End a request now; its rows in flight are dropped. False if there is none of that id any more."""
        sequence = self.roster.by_id.get(request_id)
        if sequence is None:
            return False
        self.roster.end(sequence)
        return True

    def fail(self, sequence: Sequence) -> bool:
        """End a sequence whose logits mean nothing, before its step is committed. False if it had ended already."""
        if sequence.state is State.DONE:
            return False
        self.roster.end(sequence)
        return True

    def _refuse_misfit(self, request: Request) -> None:
        num_prompt, most = len(request.prompt), request.max_tokens
        if not num_prompt:
            raise InvalidParameter("the prompt has no tokens; send at least one", param="prompt")
        if request.id in self.roster.by_id:
            raise InvalidParameter(f"request id {request.id!r} is in use; take another", param="id")
        if num_prompt + most > self.max_model_len:
            raise PromptTooLong(
                f"the prompt's {num_prompt} tokens and max_tokens {most} are {num_prompt + most} together; the"
                f" context holds {self.max_model_len}: shorten the prompt or lower max_tokens",
                param="prompt" if num_prompt >= self.max_model_len else "max_tokens",
            )
        need = self.cache.blocks_for(num_prompt + max(most - 1, 0))
        if need > self.cache.total:
            raise PromptTooLong(
                f"the prompt's {num_prompt} tokens and max_tokens {most} need {need} cache blocks of"
                f" {self.cache.block_size} tokens; there are {self.cache.total}: shorten the prompt, lower"
                " max_tokens or give the cache more memory",
                param="prompt",
            )

    # ------------------------------------------------------------------------------------------ steps

    def plan(self) -> Plan | None:
        """The next step, or None if nothing can advance or steps_in_flight plans are out.

        None, with sequences waiting and nothing in flight, does not happen.
        """
        if len(self._in_flight) >= self.steps_in_flight:
            return None
        step = self._launched + 1
        running = advance(
            self.roster, self.max_num_batched_tokens, self.prompt_logprobs_chunk, self.pace
        )
        admitted = Admitted() if running.scarce else self.admission.admit(step, running)
        plan = build_plan(step, self.slots, running, admitted)
        if plan is not None:
            self._launched = step
            self._in_flight.append(plan)
            self.stats.steps += 1
            self.stats.computed_tokens += plan.num_tokens
        return plan

    def commit(
        self, plan: Plan, tokens: I32, forced: Mapping[int, list[int]] = NOTHING
    ) -> list[Commit]:
        """Enter the tokens of the oldest plan in flight: [len(plan.sampling)] i32, in that order.

        forced  index into plan.drawing -> tokens that must follow the one drawn; only where no later plan is in flight

        The device is done with the step. Tokens of sequences that have ended are dropped.
        """
        assert self._in_flight and plan is self._in_flight[0], "plans are committed in order"
        self._in_flight.popleft()
        self.residency.acknowledge(plan.step)
        return settle(self.roster, plan, tokens, forced)

    def observe(self, plan: Plan, seconds: float) -> None:
        """A step took so long: what later steps may take is decided by that."""
        if self.pace is not None:
            self.pace.observe(plan, seconds)

    def prompt_seconds(self, tokens: int) -> float:
        """What a prompt of so many tokens would take by itself; 0 as long as that is not known."""
        if self.pace is None:
            return 0.0
        return self.pace.cost.seconds(Work(tokens, 1, tokens * (tokens + 1) / 2))

    def reset(self) -> None:
        """The cache's contents are gone: drop the plans in flight and compute every running sequence again.

        Tokens that were never committed are drawn again, the same ones: draws are keyed by seed and position.
        """
        for sequence in self.running[::-1]:
            self.roster.preempt(sequence)
        self._in_flight.clear()
        self.residency.acknowledge(self._launched)
        self.residency.settle(self._launched)
        self.cache.clear()

    # ------------------------------------------------------------------------------------------ integrity

    def check(self) -> None:
        """Assert that pool, tree, slots and sequences agree. Cheap enough for tests and for an idle engine."""
        self.cache.check(block for sequence in self.running for block in sequence.blocks)
        self._check_ledger()
        assert all(not sequence.blocks for sequence in self.waiting), (
            "a waiting sequence holds blocks"
        )
        leaders = [frontier.leader for frontier in self.roster.line.frontiers]
        assert all(leader.state is State.RUNNING for leader in leaders), "a leader does not run"
        slots = [sequence.slot for sequence in self.running]
        assert not set(slots) & set(self.slots.free) and len(set(slots)) == len(slots), "slots"
        ids = {id(sequence) for sequence in self.roster.by_id.values()}
        assert ids == {id(sequence) for sequence in [*self.running, *self.waiting]}, "roster"

    def _check_ledger(self) -> None:
        """What the columns say is what the plans in flight add up to."""
        for sequence in self.running:
            slot, tokens = sequence.slot, len(sequence.tokens)
            positions = drawn = 0
            for plan in self._in_flight:
                positions += int(plan.counts[plan.slots == slot].sum())
                drawn += int((plan.slots[plan.sampling] == slot).sum())
            assert self.slots.known[slot] == tokens, "known"
            assert self.slots.total[slot] == tokens + drawn, "total"
            assert self.slots.planned[slot] == self.slots.computed[slot] + positions, "planned"
            held = len(sequence.blocks)
            assert self.slots.capacity[slot] == held * self.cache.block_size, "capacity"
            assert self.slots.table[slot, :held].tolist() == sequence.blocks, "table"
            assert not self.slots.table[slot, held:].any(), "table past its end"
