"""A stop string never leaks, and nothing that is not one is lost."""

from __future__ import annotations

import pytest
from dovetail.errors import InvalidParameter
from dovetail.text.stopping import MAX_STOP_LENGTH, StopMatcher
from hypothesis import given
from hypothesis import strategies as st

stops_of = st.lists(st.text(alphabet="ab", min_size=1, max_size=5), max_size=4)
texts = st.lists(st.text(alphabet="ab", max_size=6), max_size=12)


def first_end(text: str, stops: list[str]) -> tuple[int, int] | None:
    """By definition: the match that ends first, the longest of those that end there."""
    for end in range(len(text) + 1):
        starts = [end - len(s) for s in stops if text[:end].endswith(s)]
        if starts:
            return min(starts), end
    return None


@given(parts=texts, stops=stops_of, keep=st.booleans())
def test_text_is_cut_at_the_first_match(parts: list[str], stops: list[str], keep: bool) -> None:
    matcher = StopMatcher(stops, keep=keep)
    whole = "".join(parts)
    got = "".join(matcher.push(part) for part in parts) + matcher.flush()
    match = first_end(whole, stops)
    if match is None:
        assert got == whole and matcher.matched is None
    else:
        start, end = match
        assert got == whole[: end if keep else start]
        assert matcher.matched == whole[start:end]


@given(parts=texts, stops=stops_of)
def test_only_a_possible_beginning_is_held_back(parts: list[str], stops: list[str]) -> None:
    matcher, seen, out = StopMatcher(stops), "", ""
    for part in parts:
        seen += part
        out += matcher.push(part)
        if matcher.matched is not None:
            return
        held = seen[len(out) :]
        assert not held or any(stop.startswith(held) for stop in stops)


def test_a_held_back_prefix_is_flushed() -> None:
    matcher = StopMatcher(["STOP"])
    assert matcher.push("go ST") == "go "
    assert matcher.flush() == "ST"


@pytest.mark.parametrize("stops", [[""], ["x"] * 17, ["x" * (MAX_STOP_LENGTH + 1)]])
def test_stops_out_of_bounds_are_refused(stops: list[str]) -> None:
    with pytest.raises(InvalidParameter) as error:
        StopMatcher(stops)
    assert error.value.param == "stop"
