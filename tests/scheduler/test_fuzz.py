"""Random episodes on the adversarial device; DOVETAIL_TEST_EPISODES makes a soak of it."""

import os

import pytest

from .episode import Episode

EPISODES = int(os.environ.get("DOVETAIL_TEST_EPISODES", "900"))
FIRST = int(os.environ.get("DOVETAIL_TEST_FIRST_EPISODE", "0"))
PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_scheduler_delivers_the_same_tokens_whatever_happens(part):
    for seed in range(FIRST + part, FIRST + EPISODES, PARTS):
        try:
            Episode(seed).run()
        except Exception as error:
            raise AssertionError(f"episode {seed} failed: {error!r}") from error
