"""Who of the waiting goes first: the one of whom most is cached, and nobody is passed for ever."""

from dovetail.scheduler import Priority
from dovetail.scheduler.admission import MOST_PASSED
from hypothesis import given
from hypothesis import strategies as st

from .driving import commit, finish, names, request_of, scheduler_of, step

CACHED = list(range(100, 124))


def warm(**given):
    """A scheduler with one slot, in whose cache CACHED is."""
    scheduler = scheduler_of(max_num_seqs=1, max_num_batched_tokens=64, **given)
    scheduler.add(request_of("first", CACHED, 1))
    finish(scheduler)
    return scheduler


def order_of_entry(scheduler) -> list[str]:
    entered = []
    while scheduler.has_work:
        plan = scheduler.plan()
        entered += [sequence.request.id for sequence in plan.admitted]
        commit(scheduler, plan)
    return entered


@given(cached=st.lists(st.integers(0, 23), min_size=1, max_size=12))
def test_the_longest_cached_prefix_goes_first_and_equals_by_arrival(cached):
    scheduler = warm(num_blocks=200)
    for number, length in enumerate(cached):
        scheduler.add(request_of(str(number), [*CACHED[:length], 7 + number], 1))
    want = sorted(range(len(cached)), key=lambda number: (-cached[number], number))
    assert order_of_entry(scheduler) == [str(number) for number in want]


def test_priorities_come_before_prefixes():
    scheduler = warm(policy=Priority())
    scheduler.add(request_of("cached", [*CACHED, 1], 1, priority=1))
    scheduler.add(request_of("urgent", [1, 2, 3], 1, priority=0))
    assert order_of_entry(scheduler) == ["urgent", "cached"]


def test_one_of_whom_nothing_is_cached_is_passed_a_bounded_number_of_times():
    scheduler = warm()
    scheduler.add(request_of("alone", [1, 2, 3], 1))
    entered: list[str] = []
    for number in range(4 * MOST_PASSED):
        scheduler.add(request_of(str(number), [*CACHED, number], 1))
        plan = scheduler.plan()
        entered += names(plan)
        commit(scheduler, plan)
        if "alone" in entered:
            break
    assert entered.index("alone") == MOST_PASSED
    step(scheduler)
