"""Plan, pack, run, sample, commit: one loaded model, driven one step at a time by one thread."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dovetail.errors import CacheLost, DeviceLost, RequestError
from dovetail.platform import F32, I32, LateEdits, Pending, Program, SamplingColumns, Ticket, Tokens
from dovetail.request import FinishReason, Output, Request
from dovetail.scheduler import Commit, Plan, Scheduler
from dovetail.tiers import Tiers

from .choosing import Choosers, Fetched
from .client import EngineInfo, EngineStats
from .collecting import collect
from .edits import Edits, join
from .masks import Forced, Masks
from .pack import SlotParameters, pack, select
from .restoring import Restoring
from .scores import Scores, scored_token
from .vectors import delivered
from .waits import Waits

Index = NDArray[np.intp]
log = logging.getLogger("dovetail.engine")
LOSSES_IN_A_ROW = 8
"""Caches lost with no step finished in between, after which the device is taken for lost."""
NOT_FINITE = (
    "the model's logits for this request were not finite numbers; its tokens would mean nothing"
)


def _nothing() -> None:
    """For models that lose no cache."""


@dataclass(slots=True)
class _Step:
    """A step that was started and is not committed.

    rows     of the step's outputs that are sampled: drawn ones first, then scored ones
    started  when, by the engine's clock
    late     drawn rows that wait for the token before
    fetched  logits of the rows that are chosen on the host
    tickets  (which of `rows`, what was sampled for them)
    pooled   vectors of the plan's closing sequences, in their order
    """

    plan: Plan
    pending: Pending
    rows: I32
    columns: SamplingColumns
    started: float
    late: list[int]
    fetched: Fetched | None
    tickets: list[tuple[Index, Ticket[Tokens]]] = field(default_factory=list)
    pooled: Ticket[F32] | None = None


class Engine:
    """Requests in, outputs out, a step at a time. Not thread-safe: one thread calls it.

    program    the model, compiled for the scheduler's largest step
    scheduler  who advances; it plans for one cache group, and all groups follow it
    reallocate makes a new cache after CacheLost
    masks      follows the grammars of requests
    tiers      where blocks go that the cache has no room for
    closing    called by `close`, in order
    clock      seconds, from anywhere; the scheduler is told what each step took
    """

    def __init__(
        self,
        program: Program,
        scheduler: Scheduler,
        info: EngineInfo,
        *,
        cache_groups: int = 1,
        reallocate: Callable[[], None] = _nothing,
        masks: Masks | None = None,
        tiers: Tiers | None = None,
        closing: Sequence[Callable[[], None]] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.info = info
        self._program = program
        self._scheduler = scheduler
        self._parameters = SlotParameters(info.max_num_seqs)
        self._cache_groups = cache_groups
        self._reallocate = reallocate
        self._clock = clock
        self._retired = -math.inf
        self._masks = Masks(None) if masks is None else masks
        self._restoring = Restoring(tiers, scheduler, clock)
        self._closing = [self._masks.close, self._restoring.close, *closing]
        self._inflight: deque[_Step] = deque()
        self._depth = scheduler.steps_in_flight
        self._edits: dict[str, Edits] = {}
        self._choosers = Choosers(info.vocab_size)
        self._scores = Scores()
        self._waits = Waits(clock)
        self._ready: list[Output] = []
        self._pooled_output = "scores" if info.task == "score" else "hidden"
        self._generated = 0
        self._steps = 0
        self._losses = 0

    # ------------------------------------------------------------------------------------------------ requests

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return self._busy or self._masks.compiling or bool(self._restoring.ids)

    @property
    def _busy(self) -> bool:
        """Whether there is more to do than to wait for a grammar or the disk."""
        return bool(self._inflight or self._ready) or self._scheduler.has_work

    def submit(self, request: Request) -> None:
        """Queue a request; one that can never fit ends with an error in the next step's outputs."""
        self._waits.begin(request.id)
        if request.sampling.grammar is None:
            self._restore(request)
        else:
            self._masks.begin(request)

    def _restore(self, request: Request) -> None:
        """Queue a request, after what of its prompt is on disk has been read."""
        if not self._restoring.begin(request):
            self._add(request)

    def _add(self, request: Request) -> None:
        try:
            self._scheduler.add(request)
        except RequestError as error:
            self._end(Output(request.id, finish=FinishReason.ERROR, error=str(error)))
            return
        if Edits.needed(request):
            self._edits[request.id] = Edits(request)
        self._choosers.admit(request)
        self._masks.allow(request, self.info.vocab_size)

    def cancel(self, request_id: str) -> None:
        """End a request; nothing happens if it has ended or never was."""
        if (
            self._masks.abandon(request_id)
            or self._restoring.abandon(request_id)
            or self._scheduler.cancel(request_id)
        ):
            self._end(Output(request_id, finish=FinishReason.CANCELLED))

    def cancel_all(self) -> None:
        """End every request."""
        for request_id in [*self._masks.compiling_ids, *self._restoring.ids]:
            self.cancel(request_id)
        for sequence in [*self._scheduler.running, *self._scheduler.waiting]:
            self.cancel(sequence.request.id)

    def _end(self, output: Output) -> None:
        self._ready.append(output)
        self._forget(output.request_id)

    def _forget(self, request_id: str) -> None:
        self._edits.pop(request_id, None)
        self._masks.drop(request_id)
        self._choosers.forget(request_id)
        self._scores.drop(request_id)
        self._waits.drop(request_id)

    # --------------------------------------------------------------------------------------------------- a step

    def step(self) -> list[Output]:
        """Start the next step, if one can be planned, and finish the oldest one, if it is its turn.

        With one step in flight this is plan, run, commit. With more, a step is started before the one before it has
        ended, so that the device never waits for the host. A device that loses its cache gets a new one, and what was
        running is computed again; anything else it raises ends the engine, and so does a cache that is lost over and over.
        """
        self._add_compiled()
        for request in self._restoring.ready(block=not (self._busy or self._masks.compiling)):
            self._add(request)
        outputs, self._ready = self._ready, []
        try:
            self._advance(outputs)
        except CacheLost as lost:
            self._recover(lost)
        return outputs

    def _add_compiled(self) -> None:
        """Queue the requests whose grammars are compiled; if there is nothing else to do, wait for one."""
        idle = not (self._busy or self._restoring.ids)
        for request, error in self._masks.compiled(block=idle):
            if error is None:
                self._restore(request)
            else:
                self._end(_refused(request.id, error))

    def _recover(self, lost: CacheLost) -> None:
        """Start again from the tokens that are known."""
        self._losses += 1
        if self._losses >= LOSSES_IN_A_ROW:
            raise DeviceLost(
                f"the cache was lost {self._losses} times with no step finished in between: {lost}"
            ) from lost
        log.warning("cache=lost reason=%r running=%d", str(lost), self._scheduler.num_running)
        self._inflight.clear()
        self._restoring.lost()
        self._scheduler.reset()
        self._reallocate()

    def _advance(self, outputs: list[Output]) -> None:
        plan = self._scheduler.plan()
        if plan is not None:
            self._launch(plan)
        if self._inflight and (plan is None or len(self._inflight) >= self._depth):
            outputs += self._retire()
            self._sample_late()

    def _launch(self, plan: Plan) -> None:
        batch, rows, columns = pack(plan, self._parameters)
        batch.tables *= self._cache_groups  # one id names a block in every group
        batch.copies *= self._cache_groups
        self._restoring.move()
        started = self._clock()
        for sequence in plan.admitted:
            self._waits.end(sequence.request.id, started)
        pending = self._program.run(batch)
        fetched = self._choosers.fetch(pending, rows, plan.drawing)
        step = _Step(plan, pending, rows, columns, started, self._deferred(plan), fetched)
        if len(batch.outputs) > len(rows):
            pooled = np.arange(len(rows), len(batch.outputs), dtype=np.int32)
            step.pooled = step.pending.fetch(self._pooled_output, pooled)
        self._inflight.append(step)
        self._steps += 1
        if not step.late:
            self._sample(step, np.arange(len(rows)))
        else:
            self._sample(step, np.delete(np.arange(len(rows)), step.late))

    def _deferred(self, plan: Plan) -> list[int]:
        """Drawn rows whose edits need a token that is still in flight."""
        deferred = []
        for row in plan.late:
            if row.sequence.num_output + row.sequence.num_prompt == row.start + row.count:
                row.sampled = True
            else:
                deferred.append(int(np.searchsorted(plan.sampling, row.index)))
        return deferred

    def _sample(self, step: _Step, which: Index) -> None:
        if len(which) == 0:
            return
        columns = step.columns if len(which) == len(step.rows) else select(step.columns, which)
        late = self._late_edits(step, which)
        if step.fetched is not None:
            columns = self._choosers.choose(step.fetched, which, step.plan.drawing, columns, late)
        ticket = step.pending.sample(step.rows[which], columns, late)
        step.tickets.append((which, ticket))

    def _late_edits(self, step: _Step, which: Index) -> LateEdits | None:
        if not self._edits and not self._masks.wanted:
            return None
        drawing, found = step.plan.drawing, []
        for at, index in enumerate(which.tolist()):
            if index >= len(drawing):
                break  # scored rows are scored as the model has them
            edits = self._edits.get(drawing[index].request.id)
            if edits is not None:
                position = int(step.columns.position[index])
                found.append((at, edits.row(drawing[index].tokens, position)))
        masks = self._masks.rows(
            (at, drawing[index]) for at, index in enumerate(which.tolist()) if index < len(drawing)
        )
        return join(found, masks)

    # ------------------------------------------------------------------------------------------------- and after

    def _retire(self) -> list[Output]:
        step = self._inflight.popleft()
        step.pending.wait()
        tokens = collect(len(step.rows), step.tickets)
        self._losses = 0
        before, self._retired = self._retired, self._clock()
        self._scheduler.observe(step.plan, self._retired - max(step.started, before))
        drawn = len(step.plan.drawing)
        failed = self._fail(step.plan, tokens, drawn)
        self._scores.gather(step.plan, tokens)
        forced = self._follow(step.plan, tokens, failed)
        commits = self._scheduler.commit(step.plan, tokens.ids[:drawn], forced)
        if step.pooled is not None:
            return failed + self._pooled(step.plan, step.pooled.result(), commits)
        failed += self._outputs(step, tokens, commits)
        self._masks.start()
        return failed

    def _follow(self, plan: Plan, tokens: Tokens, failed: list[Output]) -> Forced:
        """Take grammars on by the tokens drawn; end those that cannot go on. Returns what must follow."""
        if not self._masks.following:
            return {}
        forcing = not self._inflight
        forced, lost = self._masks.follow(plan.drawing, tokens.ids, forcing=forcing)
        for sequence, reason in lost:
            self._scheduler.fail(sequence)
            request_id = sequence.request.id
            failed.append(_refused(request_id, reason))
            self._forget(request_id)
        return forced

    def _pooled(self, plan: Plan, vectors: F32, commits: list[Commit]) -> list[Output]:
        """The vectors of prompts that ended; nothing else happens in a model that pools."""
        vector_of = {id(s): vector for s, vector in zip(plan.closing, vectors, strict=True)}
        for commit in commits:
            self._forget(commit.sequence.request.id)
        return [
            delivered(c.sequence.request.id, vector_of[id(c.sequence)], c.cached) for c in commits
        ]

    def _fail(self, plan: Plan, tokens: Tokens, drawn: int) -> list[Output]:
        """End the sequences whose logits were not finite; the others go on."""
        failed: list[Output] = []
        for index in np.flatnonzero(tokens.not_finite[:drawn]).tolist():
            request_id = plan.drawing[index].request.id
            if self._scheduler.fail(plan.drawing[index]):
                failed.append(Output(request_id, finish=FinishReason.ERROR, error=NOT_FINITE))
                self._forget(request_id)
        return failed

    def _outputs(self, step: _Step, tokens: Tokens, commits: list[Commit]) -> list[Output]:
        scored = bool(np.any(step.columns.logprobs[: len(step.plan.drawing)] >= 0))
        place = (
            {id(sequence): at for at, sequence in enumerate(step.plan.drawing)} if scored else {}
        )
        outputs = []
        for commit in commits:
            sequence = commit.sequence
            request = sequence.request
            output = Output(
                request.id,
                commit.tokens,
                cached=commit.cached,
                finish=commit.finish,
                stop_id=commit.stop_id,
                waited_us=self._waits.pop(request.id) if commit.first else -1,
            )
            if scored and commit.tokens and request.sampling.logprobs is not None:
                output.logprobs = [
                    scored_token(tokens, place[id(sequence)], request.sampling.logprobs)
                ]
            if commit.first and request.sampling.prompt_logprobs is not None:
                output.prompt_logprobs = self._scores.pop(request.id)
            self._generated += len(commit.tokens)
            if commit.finish is not None:
                self._forget(request.id)
            outputs.append(output)
        return outputs

    def _sample_late(self) -> None:
        """Sample the rows whose token before has just become known."""
        for step in self._inflight:
            if not step.late:
                continue
            ready = [at for at in step.late if _is_next(step, at)]
            if ready:
                step.late = [at for at in step.late if at not in ready]
                self._sample(step, np.array(ready, np.intp))
                for row in step.plan.late:
                    row.sampled = (
                        row.sampled or int(np.searchsorted(step.plan.sampling, row.index)) in ready
                    )

    def idle(self) -> bool:
        """Do something that nobody waits for; whether there is more of it. Only while there is no work."""
        try:
            return self._restoring.idle()
        except CacheLost as lost:
            self._recover(lost)
            return False

    # ------------------------------------------------------------------------------------------------ how it is

    def stats(self) -> EngineStats:
        """Counters since start and gauges as of now."""
        scheduler = self._scheduler
        pool = scheduler.cache.pool
        stats = EngineStats(
            running=scheduler.num_running,
            waiting=scheduler.num_waiting,
            blocks_used=pool.num_held,
            blocks_cached=pool.num_cached,
            total_steps=self._steps,
            total_prompt_tokens=scheduler.stats.prompt_tokens,
            total_cached_tokens=scheduler.stats.cached_tokens,
            total_generated_tokens=self._generated,
            total_preemptions=scheduler.stats.preemptions,
        )
        self._restoring.count(stats)
        return stats

    def close(self) -> None:
        """Give everything back. Twice does no harm."""
        closing, self._closing = self._closing, []
        for close in closing:
            close()


def _refused(request_id: str, reason: str) -> Output:
    return Output(request_id, finish=FinishReason.ERROR, error=reason, refused=True)


def _is_next(step: _Step, at: int) -> bool:
    """Whether every token before the one that row `at` draws is known."""
    sequence = step.plan.drawing[at]
    return len(sequence.tokens) == int(step.columns.position[at])
