"""Each rule of the scheduler is needed: with one left out, the episodes fail, or the work doubles."""

import pytest
from dovetail.scheduler import Scheduler

from .episode import Episode
from .mutations import MUTANTS, NO_RESERVATION, AcknowledgeAfterRows

PRESSED = {
    "num_blocks": 14,
    "block_size": 4,
    "slots": 6,
    "steps_in_flight": 3,
    "strict": True,
    "prefix_caching": True,
    "budget": 16,
    "watermark": 0,
    "late": 0,
    "chunk": 64,
    "cancel": 0.1,
    "num_requests": 20,
    "reset": 0,
}
"""Settings under which blocks change owners all the time and steps run out of order."""

MOST_EPISODES = 120


def fails(mutant, seed: int, **settings) -> bool:
    try:
        Episode(seed, mutant, **settings).run()
    except (AssertionError, LookupError, ValueError, AttributeError, TypeError):
        return True
    return False


@pytest.mark.parametrize("name", MUTANTS)
def test_episodes_notice_a_rule_left_out(name):
    settings = {**PRESSED, "late": 0.5 if "late wait" in name else 0}
    assert any(fails(MUTANTS[name], seed, **settings) for seed in range(MOST_EPISODES))


def test_episodes_of_the_mutation_tests_pass_with_every_rule_in_place():
    for seed in range(20):
        Episode(seed, **PRESSED).run()


def test_episodes_pass_when_a_step_is_acknowledged_after_its_rows():
    for seed in range(20):
        Episode(seed, AcknowledgeAfterRows, **PRESSED).run()


def test_reservation_saves_preemptions():
    settings = {
        **PRESSED,
        "num_blocks": 20,
        "steps_in_flight": 1,
        "prefix_caching": False,
        "budget": 5,
        "cancel": 0,
    }
    preemptions = [
        sum(
            Episode(seed, scheduler, **settings).run().scheduler.stats.preemptions
            for seed in range(25)
        )
        for scheduler in (Scheduler, NO_RESERVATION)
    ]
    assert preemptions[1] > 1.5 * preemptions[0]
