"""The scheduler on the adversarial device as a Hypothesis state machine: any order of arrivals, cancels, plans, commits."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from .episode import Episode

seeds = st.integers(0, 2**32 - 1)


class SchedulerMachine(RuleBasedStateMachine):
    """An episode whose events Hypothesis chooses; at the end, all that is left is run and checked."""

    @initialize(seed=seeds)
    def begin(self, seed):
        self.episode = Episode(seed, num_requests=0, cancel=0, reset=0)

    @rule(seed=seeds)
    def submit(self, seed):
        self.episode.rng.seed(seed)
        self.episode.submit()

    @precondition(lambda self: self.episode.live)
    @rule(seed=seeds)
    def cancel(self, seed):
        self.episode.rng = random.Random(seed)
        self.episode.cancel()

    @rule()
    def launch(self):
        before = len(self.episode.flights)
        launched = self.episode.launch()
        if before == 0 and self.episode.live:
            assert launched, "nothing moves"
        assert len(self.episode.flights) <= self.episode.settings.steps_in_flight

    @rule(count=st.integers(1, 20))
    def device_works(self, count):
        self.episode.device.tick(count)

    @rule()
    def sample_late_rows(self):
        self.episode.sample_late()

    @precondition(lambda self: self.episode.flights)
    @rule()
    def land(self):
        self.episode.land()

    @rule()
    def lose_the_cache(self):
        self.episode.lose_cache()

    @invariant()
    def everything_agrees(self):
        if hasattr(self, "episode"):
            self.episode.check()

    def teardown(self):
        if hasattr(self, "episode"):
            self.episode.run()


SchedulerMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None
)
TestScheduler = SchedulerMachine.TestCase
