"""Edits to logits: bias, penalties and min_tokens, against the definitions written out."""

from __future__ import annotations

import numpy as np
from dovetail.engine.edits import Edits, join
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from hypothesis import given
from hypothesis import strategies as st

VOCABULARY = 12
token = st.integers(0, VOCABULARY - 1)


def request(prompt, stop_ids=(), **params) -> Request:
    return Request(
        id="r",
        prompt=list(prompt),
        sampling=SamplingParams(**params),
        max_tokens=50,
        stop_ids=frozenset(stop_ids),
    )


def apply(logits, ids, factors, addends):
    edited = logits.copy()
    picked = edited[ids]
    edited[ids] = np.where(picked > 0, picked / factors, picked * factors) + addends
    return edited


@given(
    prompt=st.lists(token, min_size=1, max_size=8),
    output=st.lists(token, max_size=8),
    stops=st.sets(token, max_size=2),
    bias=st.dictionaries(token, st.floats(-10, 10, width=32), max_size=3),
    repetition=st.sampled_from([1.0, 1.3, 0.7]),
    presence=st.sampled_from([0.0, 0.5, -1.5]),
    frequency=st.sampled_from([0.0, 0.25]),
    min_tokens=st.integers(0, 6),
)
def test_edits_follow_their_definitions(
    prompt, output, stops, bias, repetition, presence, frequency, min_tokens
):
    asked = request(
        prompt,
        stops,
        logit_bias=bias,
        repetition_penalty=repetition,
        presence_penalty=presence,
        frequency_penalty=frequency,
        min_tokens=min_tokens,
    )
    edits = Edits(asked)
    logits = np.linspace(-3, 4, VOCABULARY).astype(np.float32)
    for length in range(len(output) + 1):
        so_far = output[:length]
        expected = logits.astype(np.float64)
        for one in range(VOCABULARY):
            if one in prompt or one in so_far:
                expected[one] *= 1 / repetition if expected[one] > 0 else repetition
            count = so_far.count(one)
            expected[one] += bias.get(one, 0) - presence * (count > 0) - frequency * count
            if one in stops and length < min_tokens:
                expected[one] = -np.inf
        ids, factors, addends = edits.row([*prompt, *so_far], len(prompt) + length)
        assert len(set(ids.tolist())) == len(ids)
        np.testing.assert_allclose(
            apply(logits, ids, factors, addends), expected, rtol=1e-5, atol=1e-5
        )


def test_a_request_without_edits_needs_none():
    assert not Edits.needed(request([1, 2], stop_ids=[3]))
    assert Edits.needed(request([1], stop_ids=[3], min_tokens=2))
    assert Edits.needed(request([1], logit_bias={1: 2.0}))
    assert Edits.needed(request([1], presence_penalty=0.1))


def test_rows_are_joined_in_order():
    one = Edits(request([1], logit_bias={4: 1.0, 2: -1.0}))
    joined = join([(0, one.row([1], 1)), (3, one.row([1], 1))])
    assert joined is not None
    assert joined.rows.tolist() == [0, 0, 3, 3]
    assert joined.ids.tolist() == [2, 4, 2, 4]
    assert joined.addends.tolist() == [-1.0, 1.0, -1.0, 1.0]
    assert join([]) is None
