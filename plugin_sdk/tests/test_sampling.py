"""Sampling on the host: published vectors, the literal rules, and the distribution that comes out."""

import numpy as np
import pytest
from dovetail.platform import LateEdits
from dovetail_sdk.sampling import HostSampler, draw, ranking
from dovetail_sdk.sampling.philox import noise, philox4x32
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk_literal import choose, columns, edit, gumbel, log_softmax, no_edits, survivors


def rows(count):
    return np.arange(count, dtype=np.int32)


# Known answers of the Random123 distribution for philox4x32-10.
VECTORS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), VECTORS)
def test_philox_gives_the_published_words(counter, key, words):
    def parsed(text):
        return tuple(np.uint64(int(word, 16)) for word in text.split())

    assert tuple(int(word) for word in philox4x32(parsed(counter), parsed(key))) == parsed(words)
    arrays = tuple(np.full(3, word) for word in parsed(counter))
    for word, wanted in zip(philox4x32(arrays, parsed(key)), parsed(words), strict=True):
        assert (word == wanted).all()


def test_noise_is_keyed_by_seed_position_and_id():
    ids = np.array([0, 1, 2, 3, 4, 7, 1000], np.int64)
    ours = noise(ids, np.uint64(9), np.uint64(123), np.uint64(456))
    np.testing.assert_allclose(ours, [gumbel(int(i), 9, (123, 456)) for i in ids], rtol=1e-12)


parameters = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.05, 0.7, 1.0, 2.0]),
        "top_k": st.sampled_from([0, 1, 2, 7, 400]),
        "top_p": st.sampled_from([1.0, 0.9, 0.5, 0.01]),
        "min_p": st.sampled_from([0.0, 0.02, 0.5, 1.0]),
        "seed": st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
        "position": st.integers(0, 2**31 - 1),
    }
)


def logits_of(kind, count, vocab, rng):
    if kind == "ties":
        return rng.integers(-2, 3, (count, vocab)).astype(np.float32)
    values = (rng.standard_normal((count, vocab)) * rng.choice([0.1, 1, 5])).astype(np.float32)
    if kind == "forbidden":
        values[rng.random(values.shape) < 0.7] = -np.inf
        values[:, rng.integers(vocab)] = 0
    if kind == "few":
        kept = rng.permutation(vocab)[: rng.integers(1, 80)]
        values[:, np.setdiff1d(np.arange(vocab), kept)] = -np.inf
    return values


@settings(max_examples=300, deadline=None)
@given(
    st.lists(parameters, min_size=1, max_size=4),
    st.sampled_from(["bell", "ties", "forbidden", "few"]),
    st.sampled_from([1, 2, 33, 200, 700]),
    st.integers(0, 2**32),
)
def test_ids_are_those_of_the_literal_rules(given_rows, kind, vocab, seed):
    rng = np.random.default_rng(seed)
    logits = logits_of(kind, len(given_rows), vocab, rng)
    params = columns(
        len(given_rows), **{name: [row[name] for row in given_rows] for name in given_rows[0]}
    )
    before = logits.copy()
    got = HostSampler(vocab).sample(logits, rows(len(logits)), params)
    assert not got.not_finite.any()
    np.testing.assert_array_equal(logits, before)
    for index, row in enumerate(logits):
        wanted = {choose(row, params, index)}
        for nudge in (-1e-6, 1e-6):  # where a sum of probabilities falls on top_p to rounding
            near = columns(1, **given_rows[index])
            near.top_p[0] = min(1.0, near.top_p[0] + np.float32(nudge))
            wanted.add(choose(row, near, 0))
        assert int(got.ids[index]) in wanted


@settings(max_examples=60, deadline=None)
@given(parameters, st.sampled_from(["bell", "ties", "forbidden"]), st.integers(0, 2**32), st.data())
def test_wide_rows_are_cut_and_drawn_by_the_same_rules(params, kind, seed, data):
    """The paths for a large vocabulary, at a size at which the literal rules are quick enough."""
    small = {"_WHOLE": 64, "_LIST": 64, "_FIRST": 8, "_NEAR": 4, "_GROUPS": 16}
    changed = pytest.MonkeyPatch()
    for name, value in small.items():
        for module in (ranking, draw):
            if hasattr(module, name):
                changed.setattr(module, name, value)
    try:
        rng = np.random.default_rng(seed)
        vocab = data.draw(st.sampled_from([130, 515, 777]))
        logits = logits_of(kind, 1, vocab, rng)
        params = columns(1, **params)
        got = int(HostSampler(vocab).sample(logits, rows(1), params).ids[0])
        wanted = {choose(logits[0], params, 0)}
        if params.top_p[0] < 1:
            for nudge in (-2e-6, 2e-6):
                params.top_p[0] += np.float32(nudge)
                wanted.add(choose(logits[0], params, 0))
        assert got in wanted
    finally:
        changed.undo()


def test_a_full_vocabulary_is_drawn_by_the_literal_rules():
    vocab = 151936
    rng = np.random.default_rng(2)
    logits = (rng.standard_normal((6, vocab)) * 2.5).astype(np.float32)
    logits[:3, rng.integers(0, vocab, 30)] += 12
    params = columns(6, temperature=[1, 0.8, 1.5, 1, 0.1, 2], seed=[[i, 9] for i in range(6)])
    got = HostSampler(vocab).sample(logits, rows(6), params).ids
    ids = np.arange(vocab, dtype=np.int64)
    for index in range(6):
        drawn = noise(ids, np.uint64(index), np.uint64(index), np.uint64(9))
        scores = logits[index].astype(np.float64) / float(params.temperature[index]) + drawn
        assert int(got[index]) == int(scores.argmax())


@st.composite
def edits(draw, vocab, count):
    found = draw(
        st.dictionaries(
            st.tuples(st.integers(0, count - 1), st.integers(0, vocab - 1)),
            st.tuples(
                st.sampled_from([1.0, 1.3, 0.5]), st.sampled_from([0.0, -1.5, 80.0, -np.inf])
            ),
            max_size=12,
        )
    )
    keys = sorted(found)
    masked = sorted(draw(st.sets(st.integers(0, count - 1))))
    words = -(-vocab // 32)
    masks = [[draw(st.integers(1, 2**32 - 1)) for _ in range(words)] for _ in masked]
    return LateEdits(
        rows=np.array([key[0] for key in keys], np.int32),
        ids=np.array([key[1] for key in keys], np.int32),
        factors=np.array([found[key][0] for key in keys], np.float32),
        addends=np.array([found[key][1] for key in keys], np.float32),
        mask_rows=np.array(masked, np.int32),
        masks=np.array(masks, np.uint32).reshape(len(masked), words),
    )


@settings(max_examples=150, deadline=None)
@given(edits(70, 3), st.integers(0, 2**32), st.sampled_from([0.0, 0.9]))
def test_edits_and_masks_come_before_everything(late, seed, temperature):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((5, 70)).astype(np.float32)
    which = np.array([4, 0, 2], np.int32)
    params = columns(3, temperature=temperature, seed=[[seed & 0xFFFF, 1]] * 3, logprobs=[0, 3, -1])
    got = HostSampler(70).sample(logits, which, params, late)
    for index, source in enumerate(which):
        row = edit(logits[source], index, late)
        if not np.isfinite(row).any():
            assert got.not_finite[index]
            continue
        token = int(got.ids[index])
        assert token == choose(row, params, index) and not got.not_finite[index]
        if params.logprobs[index] >= 0:
            assert abs(got.logprobs[index] - log_softmax(row)[token]) < 1e-4
        else:
            assert np.isnan(got.logprobs[index])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("vocab", [50, 5000])
def test_broken_rows_are_marked_and_harm_nobody(temperature, vocab):
    rng = np.random.default_rng(4)
    logits = rng.standard_normal((6, vocab)).astype(np.float32)
    params = columns(6, temperature=temperature, logprobs=2)
    sampler = HostSampler(vocab)
    clean = sampler.sample(logits, rows(6), params)
    logits[1, 7] = np.nan
    logits[2, 3] = np.inf
    logits[3] = -np.inf
    logits[4] = np.nan
    broken = sampler.sample(logits, rows(6), params)
    assert broken.not_finite.tolist() == [False, True, True, True, True, False]
    assert broken.ids[2] == 3 and broken.ids[4] == 0
    assert broken.ids[1] == np.nanargmax(logits[1])
    for name in ("ids", "logprobs", "top_ids", "top_logprobs"):
        ours, before = getattr(broken, name), getattr(clean, name)
        np.testing.assert_array_equal(ours[[0, 5]], before[[0, 5]])


def test_a_broken_logit_is_marked_though_a_mask_hides_it():
    logits = np.zeros((1, 40), np.float32)
    logits[0, 5] = np.nan
    late = no_edits(40)
    late.mask_rows = rows(1)
    late.masks = np.array([[1 << 6, 0]], np.uint32)
    assert HostSampler(40).sample(logits, rows(1), columns(1), late).not_finite[0]


def test_alternatives_beyond_what_is_possible_are_the_lowest_ids():
    logits = np.full((1, 5000), -np.inf, np.float32)
    logits[0, [3, 4000]] = 1, 2
    got = HostSampler(5000).sample(logits, rows(1), columns(1, temperature=0.0, logprobs=5))
    assert got.ids[0] == 4000 and got.top_ids[0].tolist() == [4000, 3, 0, 1, 2]
    assert np.isneginf(got.top_logprobs[0, 2:]).all() and not got.not_finite[0]


def test_scores_and_alternatives():
    rng = np.random.default_rng(6)
    logits = rng.standard_normal((4, 6000)).astype(np.float32) * 4
    logits[1, [10, 20, 30]] = 50
    params = columns(
        4, target=[5999, -1, 3, -1], logprobs=[0, 4, -1, 20], temperature=[0, 0, 0, 0.5]
    )
    got = HostSampler(6000).sample(logits, rows(4), params)
    assert got.top_ids.shape == (4, 20) and got.ids[0] == 5999 and got.ids[2] == 3
    for index in range(4):
        wanted = log_softmax(logits[index])
        assert abs(got.logprobs[index] - wanted[got.ids[index]]) < 1e-4
        count = max(0, int(params.logprobs[index]))
        order = np.argsort(-logits[index], kind="stable")[:count]
        np.testing.assert_array_equal(got.top_ids[index, :count], order)
        np.testing.assert_allclose(got.top_logprobs[index, :count], wanted[order], atol=1e-4)
        assert (got.top_ids[index, count:] == -1).all()
    assert got.ids[1] == 10 and got.top_ids[1, :3].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    "given", [{}, {"temperature": 0.6}, {"top_p": 0.8}, {"top_k": 5}, {"min_p": 0.1}]
)
def test_draws_follow_the_distribution(given):
    count = 4000
    row = np.random.default_rng(8).standard_normal(30).astype(np.float32) * 1.5
    params = columns(count, **({"temperature": 1.0} | given), seed=[[77, 1]] * count)
    logits = np.broadcast_to(row, (count, 30))
    drawn = HostSampler(30).sample(logits, rows(count), params).ids
    kept = (
        survivors(
            row,
            float(params.temperature[0]),
            *(float(getattr(params, n)[0]) for n in ("top_k", "top_p", "min_p")),
        )
        if "top_k" not in given
        else survivors(row, 1.0, 5, 1.0, 0.0)
    )
    weights = np.exp((row[kept] - row.max()) / float(params.temperature[0]))
    wanted = count * weights / weights.sum()
    seen = np.bincount(drawn, minlength=30)
    assert seen.sum() == seen[kept].sum()
    large = wanted >= 5
    rest = max(wanted[~large].sum(), 1e-9)
    statistic = np.sum((seen[kept][large] - wanted[large]) ** 2 / wanted[large])
    statistic += (seen[kept][~large].sum() - rest) ** 2 / rest if (~large).any() else 0
    freedom = int(large.sum())
    assert statistic < freedom + 4 * np.sqrt(2 * freedom) + 4


def test_seed_and_position_decide_alone():
    rng = np.random.default_rng(9)
    logits = rng.standard_normal((8, 5000)).astype(np.float32)
    sampler = HostSampler(5000)

    def params(count, **given):
        return columns(count, temperature=1.0, seed=[[3, 4]] * count, **given)

    together = sampler.sample(logits, rows(8), params(8)).ids
    for index in range(8):
        alone = sampler.sample(logits[index : index + 1], rows(1), params(1, position=index)).ids
        assert alone[0] == together[index]


def test_logits_of_another_width_are_refused():
    with pytest.raises(ValueError, match="logits are 9 wide; the sampler was made for 8"):
        HostSampler(8).sample(np.zeros((1, 9), np.float32), rows(1), columns(1))


def test_no_rows_give_no_tokens():
    got = HostSampler(8).sample(np.zeros((2, 8), np.float32), rows(0), columns(0), no_edits(8))
    assert got.ids.size == 0 and got.top_ids.shape == (0, 0)
