"""The engine on the null platform, exactly: what a request gets depends on nothing but the request."""

from __future__ import annotations

import dataclasses
import os
import random

import pytest
from dovetail.errors import CacheLost
from dovetail.platform import Program
from dovetail.request import FinishReason, Request
from dovetail.sampling import SamplingParams
from dovetail_sdk.null import expected
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.waiting import Patience

VOCABULARY = 320
EPISODES = int(os.environ.get("DOVETAIL_TEST_EPISODES", "60"))
DEVICES = ("0", "ahead2", "ahead3", "strict", "strict2", "strict3")


def request(
    name: str, prompt: list[int], max_tokens: int, *, stop_ids=(), seed=0, **params
) -> Request:
    return Request(
        id=name,
        prompt=prompt,
        sampling=SamplingParams(max_tokens=max_tokens, **{"temperature": 0.0, **params}),
        max_tokens=max_tokens,
        stop_ids=frozenset(stop_ids),
        seed=seed,
    )


def oracle(asked: Request) -> list[int]:
    return expected(
        asked.prompt,
        asked.max_tokens,
        VOCABULARY,
        stop_ids=asked.stop_ids,
        min_tokens=asked.sampling.min_tokens,
        temperature=asked.sampling.temperature,
        seed=asked.seed,
    )


def random_request(rng: random.Random, name: str, bases: list[list[int]], room: int) -> Request:
    base = rng.choice(bases)
    prompt = base[: rng.randint(1, len(base))] + [
        rng.randrange(VOCABULARY) for _ in range(rng.choice([0, 0, 1, 6]))
    ]
    prompt = prompt[: room - 1]
    params = rng.choice(
        [
            {},
            {"temperature": 0.8},
            {"repetition_penalty": 1.2},
            {"min_tokens": 3},
            {"logprobs": 2},
            {"frequency_penalty": 0.5, "temperature": 1.0},
        ]
    )
    max_tokens = max(rng.randint(1, min(24, room - len(prompt))), params.get("min_tokens", 0))
    stops = rng.sample(range(VOCABULARY), rng.choice([0, 0, 40]))
    return request(name, prompt, max_tokens, stop_ids=stops, seed=rng.getrandbits(64), **params)


@pytest.mark.defends(
    "the cache is full",
    "requests go back to the line for others, and get the tokens they would have got",
    without=(
        "dovetail.scheduler.roster",
        "        sequence.preemptions += 1\n",
        "        sequence.preemptions += 1\n        del sequence.tokens[sequence.num_prompt :]\n",
    ),
)
@settings(
    max_examples=EPISODES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32),
    device=st.sampled_from(DEVICES),
    block_size=st.sampled_from([1, 2, 4, 16]),
    budget=st.sampled_from([1, 3, 16, 64]),
    seqs=st.integers(1, 6),
    caching=st.booleans(),
)
def test_tokens_depend_on_the_request_alone(
    null_engine, seed, device, block_size, budget, seqs, caching
):
    rng = random.Random(seed)
    room = 80
    engine = null_engine(
        device,
        block_size=block_size,
        num_blocks=rng.randint(-(-room // block_size), -(-3 * room // block_size)),
        max_model_len=room,
        max_num_seqs=seqs,
        max_num_batched_tokens=budget,
        enable_prefix_caching=caching,
    )
    bases = [[rng.randrange(VOCABULARY) for _ in range(rng.randint(1, 60))] for _ in range(2)]
    todo = [random_request(rng, str(number), bases, room) for number in range(rng.randint(1, 14))]
    asked = {one.id: one for one in todo}
    delivered: dict[str, list[int]] = {name: [] for name in asked}
    finished: dict[str, FinishReason] = {}
    patience = Patience("all requests have ended")
    while len(finished) < len(asked):
        patience.look()
        if todo and rng.random() < 0.4:
            engine.submit(todo.pop())
        if rng.random() < 0.03:
            engine.cancel(rng.choice(sorted(asked)))
        for output in engine.step():
            assert output.request_id not in finished, "an output after the last one"
            delivered[output.request_id] += output.tokens
            if output.finish is not None:
                finished[output.request_id] = output.finish
        engine._scheduler.check()
    for name, one in asked.items():
        want = oracle(one)
        if finished[name] is FinishReason.CANCELLED:
            assert delivered[name] == want[: len(delivered[name])]
        else:
            assert delivered[name] == want
            stopped = len(want) < one.max_tokens or want[-1] in one.stop_ids
            assert finished[name] is (FinishReason.STOP if stopped else FinishReason.LENGTH)
    while engine.has_work:
        engine.step()
    assert engine.stats().blocks_used == 0
    engine.close()


@pytest.mark.parametrize("device", DEVICES)
def test_a_shared_prefix_is_computed_once_to_the_token(null_engine, device):
    engine = null_engine(device, block_size=32)
    prefix = [n * 7 % VOCABULARY for n in range(200)]
    first, second = request("a", [*prefix, 1, 2], 4), request("b", [*prefix, 9, 9, 9], 4)
    outputs = run(engine, [first]) | run(engine, [second])
    assert outputs["a"][0] == oracle(first) and outputs["b"][0] == oracle(second)
    assert outputs["a"][1] == 0 and outputs["b"][1] == 200


def test_requests_that_arrive_together_share_the_prefix_one_of_them_computes(null_engine):
    engine = null_engine(block_size=16, max_num_batched_tokens=32)
    prompt = [n * 3 % VOCABULARY for n in range(160)]
    asked = [request(str(n), [*prompt, n], 3) for n in range(5)]
    outputs = run(engine, asked)
    assert all(outputs[one.id][0] == oracle(one) for one in asked)
    assert sum(cached for _, cached in outputs.values()) >= 4 * 160


def test_blocks_held_never_exceed_the_tail_of_each_sequence(null_engine):
    engine = null_engine(block_size=8, max_num_batched_tokens=24, max_num_seqs=6)
    rng = random.Random(3)
    for number in range(12):
        prompt = [rng.randrange(VOCABULARY) for _ in range(rng.randint(1, 90))]
        engine.submit(request(str(number), prompt, 30))
    while engine.has_work:
        engine.step()
        held = sum(-(-len(sequence.tokens) // 8) for sequence in engine._scheduler.running)
        assert engine.stats().blocks_used <= held


def test_prompt_log_probabilities_cover_the_prompt_in_chunks(null_engine):
    engine = null_engine(max_num_batched_tokens=8, block_size=4)
    asked = request("p", list(range(2, 60)), 0, prompt_logprobs=2)
    found = []
    engine.submit(asked)
    while engine.has_work:
        found += engine.step()
    (output,) = [output for output in found if output.finish is not None]
    assert output.finish is FinishReason.LENGTH and output.tokens == []
    assert output.prompt_logprobs is not None and output.prompt_logprobs[0] is None
    assert len(output.prompt_logprobs) == 58
    assert all(one is not None and len(one.top_ids) == 2 for one in output.prompt_logprobs[1:])


@pytest.mark.defends(
    "the cache is full",
    "a request that can never fit is refused, with the numbers",
    without=(
        "dovetail.scheduler.scheduler",
        "if num_prompt + most > self.max_model_len:",
        "if False:",
    ),
)
def test_a_request_that_can_never_fit_ends_with_the_numbers(null_engine):
    engine = null_engine(max_model_len=64)
    engine.submit(request("x", [1] * 60, 10))
    (output,) = engine.step()
    assert output.finish is FinishReason.ERROR and "70" in output.error and "64" in output.error


def run(engine, asked: list[Request]) -> dict[str, tuple[list[int], int]]:
    """Tokens and cached prompt tokens of each request."""
    outputs: dict[str, tuple[list[int], int]] = {one.id: ([], 0) for one in asked}
    for one in asked:
        engine.submit(one)
    while engine.has_work:
        for output in engine.step():
            tokens, cached = outputs[output.request_id]
            outputs[output.request_id] = (tokens + output.tokens, max(cached, output.cached))
    return outputs


class LosesItsCache(Program):
    """A program that reports a lost cache at some of its runs, as a device after a reset would."""

    def __init__(self, program: Program, at: set[int]) -> None:
        self.program, self.shape, self.at, self.runs = program, program.shape, at, 0

    def run(self, batch):
        self.runs += 1
        if self.runs in self.at:
            raise CacheLost("the device was reset")
        return self.program.run(batch)


@pytest.mark.parametrize("device", DEVICES)
def test_a_lost_cache_is_computed_again(null_engine, device):
    engine = null_engine(device, max_num_batched_tokens=16)
    engine._program = LosesItsCache(engine._program, {2, 9, 10, 25})
    asked = [
        request(str(n), list(range(n + 2, n + 30)), 20, repetition_penalty=1.0 + 0.1 * (n % 2))
        for n in range(5)
    ]
    outputs = run(engine, asked)
    assert all(outputs[one.id][0] == oracle(one) for one in asked)
    assert engine._program.runs > 25
    engine._scheduler.check()


@pytest.mark.parametrize("device", DEVICES)
def test_a_cancelled_request_leaves_nothing_behind(null_engine, device):
    engine = null_engine(device, max_num_batched_tokens=8, block_size=4)
    prompt = list(range(2, 100))
    for name, params in (("a", {"prompt_logprobs": 1}), ("b", {"repetition_penalty": 1.3})):
        engine.submit(request(name, prompt, 10, **params))
    for _ in range(4):
        engine.step()
    engine.cancel_all()
    while engine.has_work:
        engine.step()
    assert not engine._scores._by_request and not engine._edits
    assert engine.stats().blocks_used == 0


def test_lower_priority_numbers_go_first(null_engine):
    engine = null_engine(max_num_seqs=1)
    order = []
    for number in range(6):
        one = request(str(number), [number + 1], 2)
        engine.submit(dataclasses.replace(one, priority=0 if number else 9))
    while engine.has_work:
        order += [output.request_id for output in engine.step() if output.finish is not None]
    assert order == ["1", "2", "3", "4", "5", "0"]
