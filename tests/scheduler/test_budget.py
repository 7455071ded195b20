"""Sharing out a step's tokens."""

import numpy as np
from dovetail.scheduler.budget import share
from hypothesis import given
from hypothesis import strategies as st

wishes = st.lists(st.integers(0, 50), min_size=1, max_size=12)


@given(wishes=wishes, budget=st.integers(0, 120))
def test_share_spends_the_budget_and_gives_no_one_too_much(wishes, budget):
    wanted = np.array(wishes, np.int32)
    got = share(wanted.copy(), budget)
    assert (got <= wanted).all() and (got >= 0).all() and got.dtype == np.int32
    assert got.sum() == min(budget, wanted.sum())


@given(wishes=wishes, budget=st.integers(0, 120))
def test_share_gives_everyone_one_before_anyone_two(wishes, budget):
    wanted = np.array(wishes, np.int32)
    got = share(wanted.copy(), budget)
    if (got > 1).any():
        assert (got[wanted > 0] > 0).all()
    assert list(got[wanted > 0] > 0) == sorted(got[wanted > 0] > 0, reverse=True)
