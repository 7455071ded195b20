"""Tool calls in text that comes in pieces."""

from __future__ import annotations

import json

from dovetail.text.template import ChatTemplate
from dovetail.text.tools import Call, ToolParser, parse_call, writes_calls
from hypothesis import given
from hypothesis import strategies as st

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "</x>"}}\n</tool_call>'


def parse(text: str, sizes: list[int], *, parallel: bool = True) -> tuple[str, list[Call]]:
    parser, at, out = ToolParser(parallel=parallel), 0, ""
    calls: list[Call] = []
    for size in [*sizes, *[7] * len(text)]:
        found = parser.push(text[at : at + size])
        out, calls, at = out + found.text, calls + found.calls, at + size
    found = parser.flush()
    return out + found.text, calls + found.calls


@given(sizes=st.lists(st.integers(1, 9), max_size=80), count=st.integers(1, 3))
def test_calls_are_found_however_the_text_is_cut(sizes: list[int], count: int) -> None:
    text, calls = parse("I will add.\n" + "\n".join([CALL] * count) + "\n", sizes)
    assert text == "I will add."
    assert [call.name for call in calls] == ["add"] * count
    assert json.loads(calls[0].arguments) == {"a": 1, "b": "</x>"}
    assert len({call.id for call in calls}) == count


@given(
    text=st.text(alphabet="<tool_cal>/ \nx", max_size=40).filter(lambda t: "<tool_call>" not in t),
    sizes=st.lists(st.integers(1, 5), max_size=40),
)
def test_text_without_calls_is_untouched(text: str, sizes: list[int]) -> None:
    assert parse(text, sizes) == (text, [])


def test_what_is_no_call_stays_text() -> None:
    text = "<tool_call>not json</tool_call> then more"
    assert parse(text, []) == (text, [])


def test_a_call_without_its_end_counts_if_it_is_whole() -> None:
    text, calls = parse(CALL.removesuffix("</tool_call>"), [])
    assert text == "" and calls[0].name == "add"
    cut = '<tool_call>\n{"name": "ad'
    assert parse(cut, []) == (cut, [])


def test_only_one_call_where_only_one_is_wanted() -> None:
    text, calls = parse(CALL + CALL, [], parallel=False)
    assert text == "" and len(calls) == 1


def test_arguments_may_be_a_string_or_missing() -> None:
    as_text = parse_call('{"name": "f", "arguments": "{\\"a\\": 1}"}')
    assert as_text is not None and as_text.arguments == '{"a": 1}'
    without = parse_call('{"name": "f"}')
    assert without is not None and without.arguments == "{}"
    assert parse_call("[" * 100_000) is None


def test_templates_that_write_calls_are_recognised() -> None:
    assert writes_calls(ChatTemplate("{{ tools }}<tool_call>"))
    assert not writes_calls(ChatTemplate("{{ tools }}"))
    assert not writes_calls(ChatTemplate("<tool_call>"))
