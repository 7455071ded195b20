"""Random episodes: requests come, share prefixes, are cancelled; a tiny pool; everything is checked at every step."""

import random
from dataclasses import dataclass, field

import numpy as np
from dovetail.engine.pack import SlotParameters, pack, select
from dovetail.errors import PromptTooLong
from dovetail.request import FinishReason, Request
from dovetail.sampling import SamplingParams
from dovetail.scheduler import Arrival, Pace, Plan, Priority, Scheduler, Sequence

from .device import (
    MASK,
    STOP,
    VOCAB,
    Device,
    edit_of,
    expected,
    expected_scores,
    key_value,
)


@dataclass
class Settings:
    """What an episode is run with; drawn from its seed."""

    block_size: int
    slots: int
    steps_in_flight: int
    num_blocks: int
    budget: int
    strict: bool
    prefix_caching: bool
    priorities: bool
    watermark: int
    chunk: int
    cancel: float
    salts: int
    late: float
    num_requests: int
    reset: float
    target: float = 0.0

    @staticmethod
    def draw(rng: random.Random) -> "Settings":
        block_size = rng.choice([1, 2, 3, 4, 8])
        usable = rng.randint(4, 40) if rng.random() < 0.7 else rng.randint(40, 120)
        if rng.random() < 0.4:  # room for one or two sequences: blocks change owners all the time
            usable = max(4, rng.randint(24, 100) // block_size)
        return Settings(
            block_size=block_size,
            slots=rng.randint(1, 8),
            steps_in_flight=rng.choice([1, 2, 2, 3]),
            num_blocks=usable + 1,
            budget=rng.choice([1, 2, 5, 16, 64]),
            strict=rng.random() < 0.5,
            prefix_caching=rng.random() < 0.85,
            priorities=rng.random() < 0.3,
            watermark=rng.choice([0, 0, 1, 2]),
            chunk=rng.choice([1, 3, 64]),
            cancel=rng.choice([0, 0, 0.02, 0.1]),
            salts=rng.choice([1, 1, 2]),
            late=rng.choice([0, 0, 0.3]),
            num_requests=rng.randint(3, 25),
            reset=rng.choice([0, 0, 0, 0.01]),
        )


@dataclass
class Tracked:
    """A request, what it must get, and what it got."""

    request: Request
    sequence: Sequence
    want: list[int]
    want_scores: list[int]
    got: list[int] = field(default_factory=list)
    scores: dict[int, int] = field(default_factory=dict)
    finish: FinishReason | None = None
    cancelled: bool = False


@dataclass
class Flight:
    plan: Plan
    columns: object
    unsampled: list


class Episode:
    def __init__(self, seed: int, scheduler_class=Scheduler, **overrides) -> None:
        self.rng = rng = random.Random(seed)
        self.settings = s = Settings.draw(rng)
        for name, value in overrides.items():
            setattr(s, name, value)
        self.clock = random.Random(
            seed
        )  # of its own, so that episodes are the same with and without a pace
        s.target = self.clock.choice([0.0, 1.0, 10.0])
        self.scheduler = scheduler_class(
            num_blocks=s.num_blocks,
            block_size=s.block_size,
            max_num_seqs=s.slots,
            max_num_batched_tokens=s.budget,
            max_model_len=96,
            steps_in_flight=s.steps_in_flight,
            prefix_caching=s.prefix_caching,
            policy=Priority() if s.priorities else Arrival(),
            prompt_logprobs_chunk=s.chunk,
            pace=Pace(s.target) if s.target else None,
        )
        self.scheduler.admission.watermark = s.watermark
        self.device = Device(s.num_blocks, s.block_size, s.slots, s.strict, rng)
        self.parameters = SlotParameters(s.slots)
        self.bases = [[rng.randrange(VOCAB) for _ in range(rng.randint(1, 60))] for _ in range(2)]
        self.requests: dict[str, Tracked] = {}
        self.live: set[str] = set()
        self.flights: list[Flight] = []
        self.to_come = s.num_requests
        self.idle = 0

    # ---- requests

    def prompt(self) -> list[int]:
        rng = self.rng
        base = rng.choice(self.bases)
        prompt = base[: rng.randint(1, len(base))]
        prompt += [rng.randrange(VOCAB) for _ in range(rng.choice([0, 0, 1, 5]))]
        if self.requests and rng.random() < 0.3:  # a second turn of an earlier conversation
            before = rng.choice(list(self.requests.values()))
            prompt = (before.request.prompt + before.got)[:60] + [rng.randrange(VOCAB)]
        return prompt

    def submit(self) -> None:
        rng = self.rng
        prompt = self.prompt()
        max_tokens = rng.randint(1, 25) if rng.random() < 0.95 else 0
        sampling = SamplingParams(
            max_tokens=max_tokens,
            min_tokens=rng.choice([0, 0, min(3, max_tokens)]),
            presence_penalty=1.0 if rng.random() < self.settings.late else 0.0,
            prompt_logprobs=rng.choice([None] * 7 + [0]),
        )
        stop_ids = rng.choice([frozenset(), frozenset({STOP}), frozenset({STOP})])
        salt, priority = str(rng.randrange(self.settings.salts)), rng.randrange(3)
        for _ in range(rng.choice([1, 1, 1, 3])):  # n > 1 is n requests
            request = Request(
                id=f"r{len(self.requests)}",
                prompt=prompt,
                sampling=sampling,
                max_tokens=max_tokens,
                stop_ids=stop_ids,
                seed=rng.randrange(1 << 64),
                priority=priority,
                salt=salt,
            )
            self.admit(request)

    def admit(self, request: Request) -> None:
        try:
            sequence = self.scheduler.add(request)
        except PromptTooLong:
            return
        sampling = request.sampling
        want = expected(
            request.prompt,
            request.max_tokens,
            request.stop_ids,
            sampling.min_tokens,
            request.seed,
            sequence.late,
        )
        scores = [] if sampling.prompt_logprobs is None else expected_scores(request.prompt)
        self.requests[request.id] = Tracked(request, sequence, want, scores)
        self.live.add(request.id)

    def cancel(self) -> None:
        request_id = self.rng.choice(sorted(self.live))
        self.live.discard(request_id)
        tracked = self.requests[request_id]
        tracked.cancelled = True
        if self.rng.random() < 0.7:
            assert self.scheduler.cancel(request_id)
        else:
            assert self.scheduler.fail(tracked.sequence)
        assert not self.scheduler.cancel(request_id)

    def lose_cache(self) -> None:
        self.device.lose()
        self.flights.clear()
        self.scheduler.reset()

    # ---- steps

    def launch(self) -> bool:
        plan = self.scheduler.plan()
        if plan is None:
            return False
        s = self.settings
        assert 0 < plan.num_tokens <= s.budget
        assert plan.num_outputs <= s.slots + s.chunk
        batch, rows, columns = pack(plan, self.parameters)
        assert batch.tokens.dtype == batch.past.dtype == batch.outputs.dtype == np.int32
        assert batch.tables[0].max(initial=0) < s.num_blocks
        self.device.run(plan.step, batch)
        late = [row.index for row in plan.late]
        order = plan.sampling.tolist()
        outputs = {order.index(index): row for index, row in zip(late, plan.late, strict=True)}
        now = np.array([n for n in rows.tolist() if n not in outputs], np.int32)
        self.device.sample(plan.step, now, select(columns, now), {})
        self.flights.append(Flight(plan, columns, list(outputs.items())))
        return True

    def sample_late(self) -> None:
        """Sample late rows of which every token before is known; the oldest step's always are."""
        unknown: set[Sequence] = set()
        for flight in self.flights:
            waiting = []
            for output, row in flight.unsampled:
                if row.sequence in unknown:
                    waiting.append((output, row))
                    continue
                at = np.array([output], np.int32)
                edits = {output: edit_of(row.sequence.tokens[row.sequence.num_prompt :])}
                self.device.sample(flight.plan.step, at, select(flight.columns, at), edits)
                row.sampled = True
            flight.unsampled = waiting
            unknown.update(flight.plan.drawing)

    def land(self) -> None:
        self.sample_late()
        flight = self.flights.pop(0)
        plan = flight.plan
        results = self.device.wait(plan.step, plan.num_outputs)
        self.scheduler.observe(plan, self.clock.expovariate(1) + plan.num_tokens)
        for score in plan.scores:
            tracked = self.requests[score.sequence.request.id]
            for k in range(score.count):
                assert score.first + k not in tracked.scores, "scored twice"
                tracked.scores[score.first + k] = int(results[score.offset + k])
        for commit in self.scheduler.commit(plan, results[: len(plan.sampling)]):
            self.deliver(commit)

    def deliver(self, commit) -> None:
        tracked = self.requests[commit.sequence.request.id]
        assert commit.sequence.request.id in self.live, "a token after the end"
        assert commit.first == (tracked.finish is None and not tracked.got)
        tracked.got += commit.tokens
        if commit.first:
            assert 0 <= commit.cached < commit.sequence.num_prompt
        if commit.finish is not None:
            tracked.finish = commit.finish
            assert (commit.stop_id is not None) == (commit.finish is FinishReason.STOP)
            self.live.discard(commit.sequence.request.id)

    # ---- checks

    def check(self) -> None:
        self.scheduler.check()
        size = self.settings.block_size
        slots = self.scheduler.slots
        for sequence in self.scheduler.running:
            most = -(-int(slots.planned[sequence.slot]) // size)
            assert len(sequence.blocks) <= most, "more is held than the last block's tail"
        pool = self.scheduler.cache.pool
        mine = {block for sequence in self.scheduler.running for block in sequence.blocks}
        assert len(mine) <= pool.num_held <= len(mine) + pool.num_fenced
        if not self.device.queue:
            self.check_published()

    def check_published(self) -> None:
        """Every published block holds what its tokens make."""
        tree = self.scheduler.cache.tree
        size = self.settings.block_size
        contexts: dict[int, int] = {}
        for node in sorted(tree, key=depth):
            parent = node.parent
            context = contexts[parent.block] if parent.block else 0
            base = depth(parent) * size
            for offset, token in enumerate(node.key):
                value = key_value(context, token, base + offset)
                stored = self.device.memory[node.block][offset]
                assert stored == value, "a published block differs from its tokens"
                context = context + value & MASK
            contexts[node.block] = context

    def run(self, limit: int = 6000) -> "Episode":
        rng, s = self.rng, self.settings
        while self.to_come or self.live:
            if self.to_come and rng.random() < 0.25:
                self.to_come -= 1
                self.submit()
            if self.live and rng.random() < s.cancel:
                self.cancel()
            if rng.random() < s.reset:
                self.lose_cache()
            self.device.tick(rng.randint(0, 6))
            if rng.random() < 0.5:
                self.sample_late()
            self.step()
            self.check()
            limit -= 1
            assert limit, "livelock"
        while self.flights:
            self.land()
        self.finish()
        return self

    def step(self) -> None:
        launched = self.launch()
        if launched:
            self.idle = 0
        full = len(self.flights) >= self.settings.steps_in_flight
        if self.flights and (full or not launched or self.rng.random() < 0.2):
            self.land()
            self.idle = 0
        elif not launched and self.live:
            self.idle += 1
            raise AssertionError("nothing moves")

    def finish(self) -> None:
        scheduler = self.scheduler
        scheduler.check()
        assert not scheduler.has_work and not scheduler.num_running and not scheduler.num_waiting
        assert len(scheduler.slots.free) == self.settings.slots, "a slot is lost"
        assert scheduler.cache.available == scheduler.cache.total, "a block is lost"
        assert not len(scheduler.roster.line.frontiers) and not scheduler.cache.pool.num_fenced
        for tracked in self.requests.values():
            self.check_tokens(tracked)

    def check_tokens(self, tracked: Tracked) -> None:
        got, want = tracked.got, tracked.want
        assert tracked.sequence.tokens[tracked.sequence.num_prompt :] == got, "delivered differs"
        assert got == want[: len(got)], "wrong tokens"
        scores = [tracked.scores.get(k) for k in range(len(tracked.scores))]
        assert scores == tracked.want_scores[: len(scores)], "wrong scores"
        if not tracked.cancelled:
            assert got == want, "short"
            assert scores == tracked.want_scores, "scores missing"
            last_stops = bool(got) and got[-1] in tracked.request.stop_ids
            stopped = last_stops and len(got) >= tracked.request.sampling.min_tokens
            assert tracked.finish is (FinishReason.STOP if stopped else FinishReason.LENGTH)


def depth(node) -> int:
    """Blocks on the path down to a node."""
    count = 0
    while node.parent is not None:
        node, count = node.parent, count + 1
    return count
