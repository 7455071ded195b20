"""Each sampler against its published definition, written plainly: a sorted list of tokens, one loop."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from dovetail.request import Request
from dovetail.samplers import Chooser, Dry
from dovetail.samplers.chain import STEPS, Candidates, Place, dynamic_temperature
from dovetail.samplers.draw import draw, noise, uniform
from dovetail.samplers.mirostat import Mirostat
from dovetail.sampling import SamplingParams
from dovetail_sdk.sampling.philox import noise as sdk_noise
from hypothesis import given
from hypothesis import strategies as st

PLACE = Place(7, 3)


def candidates_of(logits) -> Candidates:
    return Candidates(np.arange(len(logits)), np.array(logits, np.float64))


def kept(name: str, logits, place: Place = PLACE, **params) -> list[int]:
    return STEPS[name](candidates_of(logits), SamplingParams(**params), place).ids.tolist()


def likeliest(logits) -> list[tuple[int, float]]:
    """(id, probability), likeliest first, ties to the lowest id."""
    peak = max(logits)
    weights = [math.exp(x - peak) for x in logits]
    pairs = [(i, w / sum(weights)) for i, w in enumerate(weights)]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


rows = st.lists(st.floats(-20, 20).map(lambda x: round(x, 3)), min_size=1, max_size=60, unique=True)


@given(logits=rows, k=st.integers(0, 70))
def test_top_k(logits, k):
    want = [i for i, _ in likeliest(logits)][: k or None]
    assert kept("top_k", logits, top_k=k) == sorted(want)


@given(logits=rows, p=st.floats(0.05, 1))
def test_top_p(logits, p):
    want, mass = [], 0.0
    for i, probability in likeliest(logits):
        want.append(i)
        mass += probability
        if mass >= p - 1e-12:
            break
    got = kept("top_p", logits, top_p=p)
    assert set(got) <= set(want) or set(want) <= set(got)
    assert abs(len(got) - len(want)) <= (abs(mass - p) < 1e-9) + (p == 1) * len(logits)


@given(logits=rows, p=st.floats(0.05, 0.99))
def test_typical_p(logits, p):
    pairs = likeliest(logits)
    entropy = sum(-q * math.log(q) for _, q in pairs if q > 0)
    pairs.sort(key=lambda pair: abs(-math.log(max(pair[1], 1e-300)) - entropy))
    want, mass = set(), 0.0
    for i, probability in pairs:
        want.add(i)
        mass += probability
        if mass > p:
            break
    assert set(kept("typ_p", logits, typical_p=p)) == want


def test_typical_p_drops_what_is_too_likely():
    logits = np.log([0.4] + [0.1] * 6)
    assert kept("typ_p", logits, typical_p=0.35) == [1, 2, 3, 4]


@given(logits=rows, n=st.floats(0.1, 4))
def test_top_n_sigma(logits, n):
    mean = sum(logits) / len(logits)
    sigma = math.sqrt(sum((x - mean) ** 2 for x in logits) / len(logits))
    want = [i for i, x in enumerate(logits) if x >= max(logits) - n * sigma]
    got = kept("top_n_sigma", logits, top_n_sigma=n)
    assert got == want or abs(len(got) - len(want)) == 1  # one may lie on the bound


@given(logits=rows, p=st.floats(0.01, 1))
def test_min_p(logits, p):
    want = [i for i, x in enumerate(logits) if x - max(logits) >= math.log(p)]
    assert kept("min_p", logits, min_p=p) == want


@given(logits=rows, threshold=st.floats(0.01, 0.5))
def test_xtc_removes_all_top_choices_but_the_least(logits, threshold):
    above = [i for i, q in likeliest(logits) if q >= threshold]
    want = set(range(len(logits))) - set(above[:-1])
    got = kept("xtc", logits, xtc_probability=1.0, xtc_threshold=threshold)
    assert set(got) == want


def test_xtc_happens_as_often_as_asked():
    logits = np.log([0.5, 0.45, 0.05])
    cut = [
        kept("xtc", logits, Place(position, 5), xtc_probability=0.3) == [1, 2]
        for position in range(4000)
    ]
    assert 0.27 < np.mean(cut) < 0.33


@given(logits=rows, spread=st.floats(0.1, 2), exponent=st.floats(0.2, 3), base=st.floats(0, 2))
def test_dynamic_temperature(logits, spread, exponent, base):
    params = SamplingParams(temperature=base, dynatemp_range=spread, dynatemp_exponent=exponent)
    got = dynamic_temperature(candidates_of(logits), params)
    if len(logits) == 1:
        assert got == base
        return
    entropy = sum(-q * math.log(q) for _, q in likeliest(logits) if q > 0)
    low, high = max(0.0, base - spread), base + spread
    want = low + (high - low) * (entropy / math.log(len(logits))) ** exponent
    assert got == pytest.approx(want, rel=1e-6, abs=1e-9)


# ------------------------------------------------------------------------------------------------------- mirostat


def published_mirostat(version, logits, mu, vocab_size, m=100):
    """Tokens kept before the draw, likeliest first."""
    pairs = likeliest(logits)
    if version == 2:
        return [i for i, q in pairs if -math.log2(max(q, 1e-300)) <= mu] or [pairs[0][0]]
    steps = gaps = 0.0
    for i in range(min(m - 1, len(pairs) - 1)):
        t = math.log((i + 2) / (i + 1))
        gaps += t * math.log(pairs[i][1] / pairs[i + 1][1])
        steps += t * t
    s = gaps / steps
    e = s - 1
    k = (e * 2**mu / (1 - vocab_size**-e)) ** (1 / s)
    return [i for i, _ in pairs[: max(int(k), 1)]]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_mirostat_follows_its_algorithm(version, seed):
    rng = np.random.default_rng(seed)
    tau, eta, size = 3.0, 0.2, 500
    params = SamplingParams(mirostat=version, mirostat_tau=tau, mirostat_eta=eta)
    state, mu = Mirostat(params, size), 2 * tau
    for position in range(40):
        logits = np.sort(rng.normal(0, 3, size))[::-1].copy() + rng.normal(0, 0.1, size)
        keep = published_mirostat(version, logits.tolist(), mu, size)
        cut = logits[keep] - logits[keep].max()
        probabilities = np.exp(cut) / np.exp(cut).sum()
        ids = np.array(keep)
        chosen = ids[int(np.argmax(cut + noise(ids, position, 11)))]
        assert state.choose(candidates_of(logits), position, 11) == chosen
        surprise = -math.log2(probabilities[keep.index(chosen)])
        mu -= eta * (surprise - tau)


def test_mirostat_holds_the_surprise_it_is_asked_for():
    rng = np.random.default_rng(0)
    for version in (1, 2):
        params = SamplingParams(mirostat=version, mirostat_tau=4.0)
        state, surprises = Mirostat(params, 2000), []
        for position in range(400):
            logits = rng.normal(0, 2.5, 2000)
            found = candidates_of(logits)
            chosen = state.choose(found, position, 1)
            surprises.append(-math.log2(found.probabilities()[chosen]))
        assert abs(np.mean(surprises[100:]) - 4.0) < 1.5


def test_mirostat_draws_an_uncommitted_token_again():
    params = SamplingParams(mirostat=2)
    logits = np.random.default_rng(2).normal(0, 3, 300)
    state = Mirostat(params, 300)
    first = [state.choose(candidates_of(logits), position, 9) for position in range(5)]
    again = [state.choose(candidates_of(logits), position, 9) for position in range(2, 5)]
    assert again == first[2:]


# ------------------------------------------------------------------------------------------------------------ DRY


def published_dry(tokens, params, breakers):
    """For each token that could come next: the longest repetition it would continue, by trying every place."""
    n = len(tokens)
    window = n if params.dry_penalty_last_n < 0 else min(n, params.dry_penalty_last_n)
    recent = tokens[n - window :]
    limit = window
    for end in range(n, n - window, -1):  # the last breaker that is complete
        if any(end >= len(b) and tokens[end - len(b) : end] == list(b) for b in breakers):
            limit = n - end
            break
    penalties = {}
    if window <= params.dry_allowed_length or limit < params.dry_allowed_length:
        return penalties
    for at in range(window - 1):
        length = 0
        while (
            length <= at and length < limit and recent[at - length] == recent[window - 1 - length]
        ):
            length += 1
        token = recent[at + 1]
        if length and length >= params.dry_allowed_length and [token] not in breakers:
            exponent = length - params.dry_allowed_length
            penalty = params.dry_multiplier * params.dry_base**exponent
            penalties[token] = max(penalties.get(token, 0), penalty)
    return penalties


@given(
    tokens=st.lists(st.integers(0, 4), max_size=60),
    start=st.integers(0, 60),
    allowed=st.integers(0, 5),
    last=st.sampled_from([-1, 3, 10, 40]),
    breakers=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=3), max_size=3),
)
def test_dry(tokens, start, allowed, last, breakers):
    params = SamplingParams(dry_multiplier=0.8, dry_allowed_length=allowed, dry_penalty_last_n=last)
    dry = Dry(params, breakers)
    for length in range(min(start, len(tokens)), len(tokens) + 1):
        got = dry.penalties(tokens[:length])
        want = published_dry(tokens[:length], params, breakers)
        assert got == pytest.approx(want)


# ------------------------------------------------------------------------------------------------------- the draw


def test_noise_is_that_of_the_contract():
    ids = np.array([0, 1, 2, 3, 17, 151_935])
    seed = 0x1234_5678_9ABC_DEF0
    words = np.uint64(41), np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)
    assert np.array_equal(noise(ids, 41, seed), sdk_noise(ids, *words))


def test_draw_looks_at_every_candidate_that_can_win():
    rng = np.random.default_rng(4)
    for position in range(50):
        ids = np.sort(rng.choice(50_000, 3000, replace=False))
        logits = rng.normal(0, rng.choice([0.01, 1, 6]), 3000)
        assert draw(ids, logits, position, 2) == int(np.argmax(logits + noise(ids, position, 2)))


def test_decisions_are_independent_of_the_noise():
    numbers = [uniform(position, 3) for position in range(2000)]
    assert 0.48 < np.mean(numbers) < 0.52 and len(set(numbers)) == 2000


def test_the_order_of_samplers_is_llama_servers_and_can_be_changed():
    """Top-p before the temperature keeps what the model thinks likely, after it what is left of it."""
    logits = np.log(np.array([0.5, 0.3, 0.1, 0.06, 0.04], np.float32))
    rng = random.Random(0)

    def drawn(**params) -> set[int]:
        ids = set()
        for _ in range(300):
            request = Request(
                id="x",
                prompt=[1],
                sampling=SamplingParams(temperature=2.0, top_p=0.75, **params),
                max_tokens=1,
                seed=rng.getrandbits(64),
            )
            ids.add(Chooser(request, 5).choose(logits, 1))
        return ids

    assert drawn(top_n_sigma=100) == {0, 1}
    assert drawn(samplers=["temperature", "top_p"]) == {0, 1, 2}
    assert drawn(samplers=["temperature"]) == {0, 1, 2, 3, 4}
