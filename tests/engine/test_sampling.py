"""SamplingParams refuses what it cannot mean, by name."""

from __future__ import annotations

import math

import pytest
from dovetail.errors import InvalidParameter
from dovetail.sampling import SamplingParams


@pytest.mark.defends(
    "parameters out of bounds",
    "every number has a lowest and a highest value",
    without=("dovetail.sampling", "if not low <= value <= high:", "if value < low:"),
)
@pytest.mark.defends(
    "parameters out of bounds",
    "a boolean is no number",
    without=(
        "dovetail.sampling",
        "if isinstance(value, bool) or not isinstance(value, int | float):",
        "if not isinstance(value, int | float):",
    ),
)
@pytest.mark.defends(
    "parameters out of bounds",
    "numbers that are not finite are refused",
    without=(
        "dovetail.sampling",
        "if not math.isfinite(value) or not inside:",
        "if value == value and not inside:",
    ),
)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", True),
        ("temperature", "1"),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -2),
        ("top_k", 1.0),
        ("min_p", math.inf),
        ("repetition_penalty", 0),
        ("presence_penalty", 2.5),
        ("n", 0),
        ("n", True),
        ("max_tokens", -1),
        ("min_tokens", 17),
        ("seed", 2**64),
        ("logprobs", 21),
        ("prompt_logprobs", -1),
        ("stop", ["x"] * 17),
        ("stop", [""]),
        ("stop", 5),
        ("stop_token_ids", 5),
        ("stop_token_ids", [-1]),
        ("logit_bias", {1: 101.0}),
        ("logit_bias", {-1: 1.0}),
    ],
)
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(InvalidParameter) as refusal:
        SamplingParams(**{name: value})
    assert refusal.value.param == name and name in str(refusal.value)


def test_stop_may_be_one_string_a_list_or_nothing():
    assert SamplingParams(stop="xyz").stop == ("xyz",)
    assert SamplingParams(stop=["a", "b"]).stop == ("a", "b")
    assert SamplingParams(stop=None, stop_token_ids=None).stop == ()
