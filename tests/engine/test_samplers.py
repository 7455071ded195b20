"""llama.cpp's samplers in the engine: on any platform, and whatever happens around a request."""

from __future__ import annotations

import random

import pytest
from dovetail.config import EngineConfig
from dovetail.engine.edits import Edits
from dovetail.engine.load import load_engine
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from hypothesis import given
from hypothesis import strategies as st

SETTINGS = [
    {"mirostat": 1, "mirostat_eta": 0.5},
    {"mirostat": 2, "mirostat_tau": 3.0},
    {"typical_p": 0.5, "presence_penalty": 0.5},
    {"xtc_probability": 0.5, "xtc_threshold": 0.001},
    {"top_n_sigma": 2.0, "logit_bias": {5: 3.0, 9: -100.0}},
    {"dynatemp_range": 0.7, "min_tokens": 3},
    {"samplers": ["penalties", "temperature"], "repetition_penalty": 1.5},
    {"dry_multiplier": 1.0, "repeat_last_n": 4, "frequency_penalty": 1.0},
    {"temperature": 0.0},
]


def asked(name: str, seed: int) -> Request:
    rng = random.Random(seed)
    params = {"temperature": 1.0, **SETTINGS[seed % len(SETTINGS)]}
    return Request(
        id=name,
        prompt=[rng.randrange(320) for _ in range(rng.randint(1, 40))],
        sampling=SamplingParams(max_tokens=16, **params),
        max_tokens=16,
        stop_ids=frozenset({3, 4, 5}),
        seed=rng.getrandbits(64),
    )


def run(engine, requests, rng=None):
    """Outputs by request, with tokens and log-probabilities joined."""
    tokens, logprobs = {}, {}
    todo = list(requests)
    while todo or engine.has_work:
        if todo and (rng is None or rng.random() < 0.5):
            engine.submit(todo.pop(0))
        for output in engine.step():
            assert output.error is None
            tokens.setdefault(output.request_id, []).extend(output.tokens)
            logprobs.setdefault(output.request_id, []).extend(output.logprobs or [])
        engine._scheduler.check()
    return tokens, logprobs


@pytest.mark.parametrize("device", ["0", "ahead3", "strict", "strict2", "strict3"])
def test_tokens_depend_on_the_request_alone(null_engine, device):
    requests = [asked(str(number), number) for number in range(3 * len(SETTINGS))]
    alone = {}
    for one in requests:
        alone |= run(null_engine("0"), [one])[0]
    for budget, blocks in ((64, 200), (7, 20)):
        engine = null_engine(
            device,
            num_blocks=blocks,
            max_model_len=80,
            max_num_seqs=5,
            max_num_batched_tokens=budget,
        )
        assert run(engine, requests, random.Random(budget))[0] == alone


@pytest.fixture(scope="module")
def reference(checkpoint):
    engine = load_engine(EngineConfig(platform="reference", max_model_len=256), checkpoint)
    yield engine
    engine.close()


def generated(engine, name: str, count: int = 12, **params) -> tuple[list[int], list[float]]:
    sampling = SamplingParams(max_tokens=count, logprobs=2, **params)
    tokens, scores = run(
        engine, [Request(id=name, prompt=[7, 9, 11], sampling=sampling, max_tokens=count)]
    )
    return tokens[name], [score.logprob for score in scores[name]]


@pytest.mark.parametrize(
    "params",
    [
        {"top_n_sigma": 1e-6},
        {"samplers": ["top_k", "temperature"], "top_k": 1},
        {"samplers": ["typical_p", "min_p"], "min_p": 1.0},
        {"typical_p": 0.9, "temperature": 0.0},
        {"mirostat": 2, "mirostat_tau": 0.0, "mirostat_eta": 0.0},
    ],
)
def test_a_sampler_that_leaves_one_token_is_greedy_with_the_same_log_probabilities(
    reference, params
):
    tokens, scores = generated(reference, "greedy", temperature=0.0)
    got, theirs = generated(reference, "other", **params)
    assert got == tokens
    assert theirs == pytest.approx(scores, abs=1e-4)


def test_dry_keeps_a_looping_model_from_repeating_itself(reference):
    def repeated(tokens: list[int]) -> int:
        triples = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
        return len(triples) - len(set(triples))

    bias = {5: 50.0, 6: 49.0, 7: 48.0}  # three tokens that the model would take for ever
    plain, _ = generated(reference, "plain", 20, temperature=0.0, logit_bias=bias)
    dry, _ = generated(reference, "dry", 20, temperature=0.0, logit_bias=bias, dry_multiplier=100.0)
    assert repeated([7, 9, 11, *plain]) > 3
    assert repeated([7, 9, 11, *dry]) == 0


@given(
    prompt=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    output=st.lists(st.integers(0, 6), max_size=12),
    last=st.integers(-1, 15),
)
def test_penalties_count_the_last_tokens_alone(prompt, output, last):
    params = SamplingParams(
        repetition_penalty=1.5,
        frequency_penalty=0.5,
        presence_penalty=0.25,
        repeat_last_n=last,
        logit_bias={3: 1.0},
    )
    one = Request(id="x", prompt=prompt, sampling=params, max_tokens=20)
    edits, tokens = Edits(one), prompt + output
    window = tokens if last < 0 else tokens[len(tokens) - min(last, len(tokens)) :]
    counted = window[max(0, len(window) - len(output)) :]
    for length in range(len(prompt), len(tokens) + 1):  # one at a time, as they come
        ids, factors, addends = edits.row(tokens[:length], length)
    for token, factor, addend in zip(ids.tolist(), factors, addends, strict=True):
        count = counted.count(token)
        assert factor == (1.5 if token in window else 1.0)
        assert addend == pytest.approx((token == 3) - 0.5 * count - 0.25 * (count > 0))
    assert set(window) | {3} <= set(ids.tolist())
