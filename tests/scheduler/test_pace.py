"""What steps cost, learnt, and the budget that follows from it."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from dovetail.scheduler import Pace
from dovetail.scheduler.cost import CostModel, Work
from hypothesis import given
from hypothesis import strategies as st

from .driving import commit, request_of, scheduler_of

TRUE = (0.02, 0.9e-3, 1.0e-3, 0.25e-6)  # seconds per step, token, row and pair


def true_seconds(work: Work) -> float:
    step, token, row, pair = TRUE
    return step + token * work.tokens + row * work.rows + pair * work.pairs


def some_work(rng: random.Random) -> Work:
    rows, prompt = rng.randint(1, 40), rng.choice([0, 0, rng.randint(1, 1500)])
    context = rng.randint(1, 4000)
    return Work(
        rows + prompt, rows + bool(prompt), rows * context + prompt * (context + prompt / 2)
    )


@pytest.mark.parametrize("seed", range(8))
def test_cost_of_any_step_is_learnt_from_noisy_ones(seed):
    rng, cost = random.Random(seed), CostModel()
    for _ in range(200):
        work = some_work(rng)
        held_up = rng.choice([1] * 9 + [20])  # one step in ten waits for somebody else's work
        cost.observe(work, true_seconds(work) * rng.uniform(0.95, 1.05) * held_up)
    errors = [abs(cost.seconds(w) / true_seconds(w) - 1) for w in map(some_work, [rng] * 200)]
    assert np.median(errors) < 0.1 and max(errors) < 0.5


def test_cost_follows_a_machine_that_becomes_slower():
    rng, cost = random.Random(1), CostModel()
    for slower in (1, 3):
        for _ in range(150):
            work = some_work(rng)
            cost.observe(work, slower * true_seconds(work))
        work = some_work(rng)
        assert cost.seconds(work) == pytest.approx(slower * true_seconds(work), rel=0.1)


def test_long_decoding_does_not_make_it_forget_what_prompts_cost():
    cost = CostModel()
    for work in (Work(1024, 1, 1024 * 512), Work(1024, 2, 1024 * 700), Work(500, 1, 125_000)):
        cost.observe(work, true_seconds(work))
    for past in range(300, 3000):
        decode = Work(8, 8, 8.0 * past)
        cost.observe(decode, true_seconds(decode))
    prompt = Work(700, 9, 350_000)
    assert cost.seconds(prompt) == pytest.approx(true_seconds(prompt), rel=0.35)


observations = st.lists(
    st.tuples(st.integers(1, 2000), st.integers(1, 64), st.floats(0, 1e7), st.floats(0, 100)),
    max_size=40,
)


@given(
    seen=observations,
    decoding=st.lists(st.integers(0, 5000), min_size=1, max_size=40),
    past=st.integers(0, 30_000),
    most=st.integers(1, 4096),
    target=st.floats(0.001, 10),
)
def test_budget_is_within_bounds_and_a_function_of_what_was_seen(
    seen, decoding, past, most, target
):
    starts = np.array(decoding, np.int32)
    found = []
    for _ in range(2):
        pace = Pace(target)
        for tokens, rows, pairs, seconds in seen:
            pace.cost.observe(Work(tokens, min(rows, tokens), pairs), seconds)
        found.append(pace.budget(starts, past, most))
    assert found[0] == found[1]
    assert min(most, len(decoding) + 16) <= found[0] <= most


@dataclass
class Timed:
    """A scheduler whose steps take what TRUE says; when each token of each request came."""

    target: float
    budget: int = 2048
    now: float = 0.0
    came: dict[str, list[float]] = field(default_factory=dict)
    tokens: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scheduler = scheduler_of(
            num_blocks=4000,
            block_size=16,
            max_num_seqs=32,
            max_num_batched_tokens=self.budget,
            max_model_len=4096,
            pace=Pace(self.target) if self.target else None,
        )

    def step(self) -> None:
        plan = self.scheduler.plan()
        assert plan is not None
        seconds = true_seconds(
            Work(
                plan.num_tokens,
                plan.num_rows,
                float(plan.counts @ (plan.starts + (plan.counts + 1) / 2)),
            )
        )
        self.now += seconds
        self.scheduler.observe(plan, seconds)
        for item in commit(self.scheduler, plan):
            name = item.sequence.request.id
            self.came.setdefault(name, []).append(self.now)

    def gaps(self, name: str) -> list[float]:
        return [b - a for a, b in zip(self.came[name], self.came[name][1:], strict=False)]


def prompt_of(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, 30_000, length).tolist()


def run_streams(target: float) -> tuple[Timed, list[float]]:
    """Eight streams decode while prompts of 1,500 tokens keep coming; how long each took to its first token."""
    timed = Timed(target)
    for number in range(8):
        timed.scheduler.add(request_of(f"stream{number}", prompt_of(number, 100), 400))
    for _ in range(20):
        timed.step()
    waited = []
    for number in range(10):
        name, asked = f"prompt{number}", timed.now
        timed.scheduler.add(request_of(name, prompt_of(100 + number, 1500), 4))
        while name not in timed.came:
            timed.step()
        waited.append(timed.came[name][0] - asked)
    return timed, waited


def test_streams_keep_their_pace_while_prompts_enter_and_prompts_are_not_starved():
    without, _ = run_streams(0)
    paced, waited = run_streams(0.2)
    assert max(without.gaps("stream0")) > 1.0
    gaps = paced.gaps("stream0")[20:]
    assert np.quantile(gaps, 0.99) < 0.2 * 1.3
    # At a fifth of a second a step, of which the streams take a fifth themselves, prompts get the rest.
    alone = true_seconds(Work(1500, 1, 1500 * 750))
    assert max(waited) < 2.5 * alone


def test_prompts_go_at_full_width_when_nobody_decodes():
    timed = Timed(0.05)
    for number in range(3):
        timed.scheduler.add(request_of(str(number), prompt_of(number, 2000), 1))
        plan = timed.scheduler.plan()
        assert plan.num_tokens == 2000
        timed.scheduler.observe(plan, 2.0)
        commit(timed.scheduler, plan)


@pytest.mark.parametrize("target", [0.001, 0.05])
def test_a_target_that_cannot_be_met_still_lets_prompts_through(target):
    timed = Timed(target)
    for number in range(30):
        timed.scheduler.add(request_of(f"stream{number}", prompt_of(number, 64), 300))
    for _ in range(10):
        timed.step()
    timed.scheduler.add(request_of("prompt", prompt_of(99, 640), 2))
    for _ in range(640 // 16 + 1):
        timed.step()
    assert "prompt" in timed.came
