"""What is no call stays text, to the last character."""

from __future__ import annotations

import pytest
from dovetail.text.calls.grammar import special_tokens
from dovetail.text.calls.table import CALL_FORMATS
from hypothesis import given, settings
from hypothesis import strategies as st

from .vectors import feed, put_together, reader_of

FORMS = [name for name in CALL_FORMATS if name != "gpt_oss"]
NONE = {
    "hermes": [
        "<tool_call>not json</tool_call> then more",
        "<tool_call>[1, 2]</tool_call>",
        '<tool_call>{"arguments": {"a": 1}}</tool_call>',
        '<tool_call>{"name": 5, "arguments": {}}</tool_call>',
        '<tool_call>{"name": "", "arguments": {}}</tool_call>',
        "the tag <tool_call> opens a call, </tool_call> closes it",
    ],
    "llama3_json": [
        '{"answer": 42}',
        '{"name": "Paris", "parameters": {"people": 2}}',
        "Well: " + '{"name": "now", "parameters": {}}',
        "{not json",
    ],
    "llama4_pythonic": [
        "[1, 2, 3]",
        "[see(the=page)]",
        "[now(]",
        "[get_weather(city=Paris)]",
        "Call [now()] please",
    ],
    "mistral": [
        "[TOOL_CALLS] none of them",
        "[TOOL_CALLS]a name with spaces{}",
        '[TOOL_CALLS] {"name": "now"}',
    ],
    "deepseek_v3": ["<｜tool▁calls▁begin｜>nothing<｜tool▁calls▁end｜>"],
    "deepseek_v31": ["<｜tool▁call▁begin｜>now<｜tool▁sep｜>no object<｜tool▁call▁end｜>"],
    "qwen3_coder": ["<tool_call>\nnow\n</tool_call>", "def f<T>(): <function=a b", "<function= >"],
    "glm45": [
        "<tool_call> is a tag of HTML </tool_call>",
        '<tool_call>{"name": "now"}</tool_call>',
    ],
    "granite": ["<|tool_call|> []", '<|tool_call|>{"name": "now", "arguments": {}}'],
    "phi4_mini_json": ["functools[] is empty", "import functools\n\n@functools.cache"],
    "functiongemma": ["<start_function_call>now{}<end_function_call>"],
}


@pytest.mark.parametrize("form", FORMS)
def test_what_only_looks_like_a_call_stays_text(form: str) -> None:
    for reply in NONE[form]:
        for sizes in ([1], [3], None):
            read = put_together(feed(reader_of(form), reply, sizes))
            assert (read.text, read.calls) == (reply, [])


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_text_of_pieces_of_calls_is_never_lost(form: str, data: st.DataObject) -> None:
    """Without a name no call can be made of the pieces, so that all of them must come out again."""
    pieces = [
        *special_tokens(CALL_FORMATS[form], None),
        *'{}[]()",:=\n <>x',
        "你",
        "🎉",
        '{"name": ',
    ]
    reply = "".join(data.draw(st.lists(st.sampled_from(pieces), max_size=20)))
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    read = put_together(feed(reader_of(form, tools={"f": {}}), reply, sizes))
    if not read.calls:
        assert read.text == reply


@pytest.mark.parametrize("form", FORMS)
def test_deep_nesting_and_long_names_are_no_trouble(form: str) -> None:
    opening = CALL_FORMATS[form].opening[0]
    for body in ("[" * 5000, "{" * 5000, '{"a":' * 5000, "[now(a=" + "[" * 5000, "x" * 5000):
        read = put_together(feed(reader_of(form), opening + body, [50]))
        assert not read.calls and read.text == opening + body


def test_white_space_is_kept_where_no_call_follows() -> None:
    for form in FORMS:
        read = put_together(feed(reader_of(form), " \n two words \n\n", [1]))
        assert read.text == " \n two words \n\n"
