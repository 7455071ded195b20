"""The queue: bounded by requests and tokens, never all of it one owner's, and honest about when to come again."""

from __future__ import annotations

import pytest
from dovetail.engine.queueing import LONGEST_WAIT_S, SHARE, Queue
from dovetail.errors import Overloaded
from hypothesis import given
from hypothesis import strategies as st


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def refused(queue: Queue, owner: str = "", tokens: int = 1) -> Overloaded | None:
    try:
        queue.join(owner, tokens)
    except Overloaded as error:
        return error
    return None


@pytest.mark.defends(
    "overload",
    "the queue is bounded in tokens too",
    without=(
        "dovetail.engine.queueing",
        "if self._open and self._tokens + tokens > self._most_tokens:",
        "if False:",
    ),
)
@given(
    places=st.integers(1, 12),
    most=st.integers(1, 60),
    asked=st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.integers(1, 40), st.booleans())),
)
def test_what_is_in_is_within_both_bounds(places, most, asked):
    queue, inside = Queue(places, most, Clock()), []
    for owner, tokens, leave in asked:
        if leave and inside:
            queue.leave(*inside.pop(0))
        if refused(queue, owner, tokens) is None:
            inside.append((owner, tokens))
        assert len(inside) <= places
        assert len(inside) <= 1 or sum(tokens for _, tokens in inside) <= most
    for one in inside:
        queue.leave(*one)
    assert refused(queue, "a", 10**9) is None, "an empty queue takes whatever fits the engine"


@pytest.mark.defends(
    "overload",
    "no key can take all places",
    without=("dovetail.engine.queueing", "if mine and mine + 1 > SHARE * (free - 1):", "if False:"),
)
@given(places=st.integers(5, 400), flooding=st.integers(1, 4))
def test_there_is_room_for_another_owner_however_many_flood(places, flooding):
    queue, held = Queue(places, 10**9, Clock()), 0
    for _ in range(places):
        for number in range(flooding):
            held += refused(queue, f"flood {number}") is None
    assert held < places and refused(queue, "another") is None
    assert held >= (SHARE * places - SHARE - 1) * flooding // (SHARE * flooding + 1) - flooding


def test_one_owner_s_tokens_leave_room_for_another():
    queue = Queue(1000, 1000, Clock())
    while refused(queue, "flood", 10) is None:
        pass
    error = refused(queue, "flood", 10)
    assert error is not None and "of this key" in str(error)
    assert refused(queue, "another", 100) is None


@pytest.mark.defends(
    "overload",
    "the time to come back follows from how fast requests end",
    without=(
        "dovetail.engine.queueing",
        "return (now - since) / len(self._ends)",
        "return FIRST_WAIT_S",
    ),
)
@given(each_s=st.floats(0.01, 2.0), places=st.integers(2, 50))
def test_whoever_is_refused_is_told_the_measured_time(each_s, places):
    clock = Clock()
    queue = Queue(places, 10**9, clock)
    for _ in range(places):
        queue.join("", 1)
    for _ in range(200):  # one ends, another takes its place
        clock.now += each_s
        queue.leave("", 1)
        queue.join("", 1)
    waits = []
    for _ in range(places + 5):
        error = refused(queue)
        assert error is not None
        waits.append(error.retry_after_s)
    assert waits[0] == pytest.approx(each_s, rel=0.1)
    longest = min(LONGEST_WAIT_S, places * each_s)
    for number, wait_s in enumerate(waits, start=1):
        assert wait_s == pytest.approx(min(number * each_s, longest), rel=0.1), "one after another"


def test_one_that_needs_many_tokens_waits_for_as_many_to_end():
    clock = Clock()
    queue = Queue(1000, 100, clock)
    for _ in range(10):
        queue.join("", 10)
    for _ in range(20):
        clock.now += 1
        queue.leave("", 10)
        queue.join("", 10)
    few = refused(queue, tokens=10)
    assert few is not None and few.retry_after_s == pytest.approx(1)
    clock.now += 10
    many = refused(queue, tokens=50)
    assert many is not None and many.retry_after_s > 5 * few.retry_after_s


def test_a_queue_in_which_nothing_ends_does_not_ask_back_at_once():
    clock = Clock()
    queue = Queue(1, 100, clock)
    queue.join("", 1)
    clock.now += 30
    error = refused(queue)
    assert error is not None and error.retry_after_s == pytest.approx(30)


def test_a_full_queue_says_so_before_anything_is_asked():
    queue = Queue(2, 100, Clock())
    assert queue.closed() is None
    queue.join("", 10)
    assert queue.closed() is None, "tokens are left for some requests"
    queue.join("", 10)
    told = queue.closed()
    assert told is not None and told.retry_after_s > 0 and "--max-queue" in str(told)
    queue.leave("", 10)
    assert queue.closed() is None
