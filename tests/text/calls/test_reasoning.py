"""Reasoning is kept apart from the answer, whoever opened it."""

from __future__ import annotations

import pytest
from dovetail.text.calls.reader import Reader
from dovetail.text.calls.table import REASONING_FORMATS
from hypothesis import given, settings
from hypothesis import strategies as st

from .vectors import NOW, feed, merged, put_together, reader_of

CASES = [
    ("think", False, "<think>\nIt is 2.\n</think>\n\nTwo.", "It is 2.", "Two."),
    ("think", True, "It is 2.\n</think>\n\nTwo.", "It is 2.", "Two."),
    ("think", True, "<think>It is 2.</think>Two.", "It is 2.", "Two."),
    ("think", True, "It never ends", "It never ends", ""),
    ("think", False, "<think>\n\n</think>\n\nTwo.", "", "Two."),
    ("think", False, "Two.", "", "Two."),
    ("think", False, " \n2 < 3, <b>not</think>", "", " \n2 < 3, <b>not</think>"),
    ("think", False, "Write <think> for it.", "", "Write <think> for it."),
    ("deepseek_r1", True, "It is 2.</think>Two.</think>", "It is 2.", "Two.</think>"),
    ("mistral", False, "[THINK]It is 2.[/THINK]Two.", "It is 2.", "Two."),
    (
        "granite",
        False,
        "Here is my thought process:\nIt is 2.\nHere is my response:\nTwo.",
        "It is 2.",
        "Two.",
    ),
    ("granite", False, "<think>It is 2.</think><response>Two.</response>", "It is 2.", "Two."),
    (
        "gpt_oss",
        False,
        "<|channel|>analysis<|message|>It is 2.<|end|><|start|>assistant<|channel|>final<|message|>Two.<|return|>",
        "It is 2.",
        "Two.",
    ),
    (
        "gpt_oss",
        False,
        "<|channel|>analysis<|message|>It<|end|><|start|>assistant<|channel|>analysis<|message|>is 2.<|end|>",
        "It\n\nis 2.",
        "",
    ),
    ("gpt_oss", False, "<|channel|>final<|message|>Two.", "", "Two."),
    ("gpt_oss", False, "Two.", "", "Two."),
    ("gpt_oss", True, "It is 2.<|end|><|start|>assistant<|message|>Two.", "It is 2.", "Two."),
]


@pytest.mark.parametrize(("name", "opened", "reply", "reasoning", "text"), CASES)
def test_reasoning_and_answer(
    name: str, opened: bool, reply: str, reasoning: str, text: str
) -> None:
    for sizes in (None, [1], [4]):
        reader = Reader(reasoning=REASONING_FORMATS[name], opened=opened)
        read = put_together(feed(reader, reply, sizes))
        assert (read.reasoning, read.text) == (reasoning, text)


@settings(deadline=None)
@given(
    reply=st.text(alphabet="<>/think \na", max_size=60),
    opened=st.booleans(),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=6),
)
def test_it_does_not_depend_on_how_the_text_is_cut(
    reply: str, opened: bool, sizes: list[int]
) -> None:
    tags = REASONING_FORMATS["think"]
    cut = feed(Reader(reasoning=tags, opened=opened), reply, sizes)
    assert merged(cut) == merged(feed(Reader(reasoning=tags, opened=opened), reply))


def test_calls_are_read_after_the_reasoning_and_not_within() -> None:
    call = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    reader = reader_of("hermes", reasoning=REASONING_FORMATS["think"])
    read = put_together(feed(reader, f"<think>I call {call}</think>\n\nSo:\n{call}", [2]))
    assert read.reasoning == f"I call {call}"
    assert (read.text, read.calls) == ("So:", [NOW])


def test_whether_the_next_text_is_reasoning_is_known() -> None:
    reader = Reader(reasoning=REASONING_FORMATS["think"], opened=True)
    assert reader.reasoning
    reader.push("hm")
    assert reader.reasoning
    reader.push("</think>yes")
    assert not reader.reasoning


def test_the_prompt_tells_whether_reasoning_is_open() -> None:
    think, assumed = REASONING_FORMATS["think"], REASONING_FORMATS["deepseek_r1"]
    assert think.opened_by("<|Assistant|><think>\n")
    assert not think.opened_by("<|Assistant|>") and assumed.opened_by("<|Assistant|>")
    for tags in (think, assumed):
        assert not tags.opened_by("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_reasoning_is_text_where_nobody_asks_for_it() -> None:
    reply = (
        "<|channel|>analysis<|message|>It.<|end|><|start|>assistant<|channel|>final<|message|>Two."
    )
    reader = reader_of("gpt_oss", reasoning=None)
    assert put_together(feed(reader, reply, [5])).text == "It.\n\nTwo."
