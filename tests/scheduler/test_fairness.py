"""Owners take turns by tokens: a flood of one delays another by about a round, whatever its size, and costs nobody a step."""

import pytest
from dovetail.scheduler import FairShare, Priority, Scheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from .driving import commit, request_of, scheduler_of

SLOTS, FLOOD, EVERY = 4, 500, 15


def serve(policy, *, prompt: int, output: int, guests: int = 6) -> tuple[list[int], int]:
    """One owner asks 500 times at once, another now and then. For each of the latter's requests, how many of the
    former's entered while it waited; and the steps until all is done."""
    scheduler = scheduler_of(max_num_seqs=SLOTS, num_blocks=129, policy=policy)
    for number in range(FLOOD):
        scheduler.add(request_of(f"f{number}", unlike(number, prompt), output, owner="flood"))
    passed, waiting, came, steps = [], {}, 0, 0
    while scheduler.has_work:
        if steps % EVERY == 0 and came < guests:
            name = f"g{came}"
            scheduler.add(request_of(name, unlike(FLOOD + came, prompt), output, owner="guest"))
            waiting[name], came = 0, came + 1
        plan = scheduler.plan()
        entered = [s.request.id for s in plan.admitted]
        for name in [name for name in entered if name in waiting]:
            passed.append(waiting.pop(name))
        for name in waiting:
            waiting[name] += sum(other.startswith("f") for other in entered)
        commit(scheduler, plan)
        steps += 1
    assert not waiting and came == guests
    return passed, steps


def unlike(number: int, length: int) -> list[int]:
    """A prompt that shares no block with another."""
    return [number + 10, *range(1, length)]


@pytest.mark.defends(
    "overload",
    "keys take turns by tokens, so that a flood of one delays another by a round",
    without=(
        "dovetail.scheduler.policy",
        "start = max(self._now, self._finish.get(request.owner, 0.0))",
        "start = self._now",
    ),
)
@settings(max_examples=6, deadline=None)
@given(
    prompt=st.integers(2, 12),
    output=st.integers(1, 6),
    quantum=st.sampled_from([1, 32, 128]),
)
def test_a_flood_delays_another_owner_by_one_round(prompt, output, quantum):
    passed, steps = serve(FairShare(quantum), prompt=prompt, output=output)
    round_length = -(-quantum // (prompt + output))
    assert max(passed) <= round_length + SLOTS, "who comes waits for a round and for a slot"
    by_arrival, plain = serve(Priority(), prompt=prompt, output=output)
    assert max(by_arrival) > round_length + SLOTS, "by arrival it waits for the flood"
    assert abs(steps - plain) <= plain // 50, "taking turns costs nothing"


@given(
    asked=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=12
    )
)
def test_without_owners_it_is_priority(asked):
    def entries(policy) -> list[str]:
        scheduler = scheduler_of(policy=policy, max_num_seqs=2)
        for number, (priority, prompt, output) in enumerate(asked):
            scheduler.add(request_of(str(number), range(prompt), output, priority=priority))
        return entered_in(scheduler)

    assert entries(FairShare(8)) == entries(Priority())


def test_shares_are_equal_in_tokens():
    """Of two owners that both always wait, the one with the larger requests gets fewer of them in."""
    scheduler = scheduler_of(max_num_seqs=2, num_blocks=129, policy=FairShare(8))
    for number in range(60):
        scheduler.add(request_of(f"a{number}", unlike(number, 12), 4, owner="a"))
        scheduler.add(request_of(f"b{number}", unlike(number + 60, 3), 1, owner="b"))
    first = entered_in(scheduler)[:50]
    large = sum(name.startswith("a") for name in first)
    small = len(first) - large
    assert 0.75 <= small * 4 / (large * 16) <= 1.33


def test_what_was_cancelled_or_shorter_than_asked_is_not_charged():
    policy = FairShare(8)
    scheduler = scheduler_of(max_num_seqs=1, policy=policy)
    scheduler.add(request_of("running", [1], 30, owner="other"))
    commit(scheduler, scheduler.plan())
    for number in range(50):
        scheduler.add(request_of(f"c{number}", [2, number], 8, owner="fickle"))
    for number in range(50):
        scheduler.cancel(f"c{number}")
    scheduler.add(request_of("rival", [3], 1, owner="rival"))
    kept = scheduler.add(request_of("kept", [4], 1, owner="fickle"))
    assert kept.order[1] == 0, "it begins where a newcomer would"
    assert entered_in(scheduler) == ["rival", "kept"]


def entered_in(scheduler: Scheduler) -> list[str]:
    """Run to the end; who entered, in order."""
    entered: list[str] = []
    while scheduler.has_work:
        plan = scheduler.plan()
        entered += [sequence.request.id for sequence in plan.admitted]
        commit(scheduler, plan)
    return entered
