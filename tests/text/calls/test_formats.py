"""Each format reads what its models are documented to write, however the text is cut."""

from __future__ import annotations

from typing import Any

import pytest
from dovetail.text.calls.table import CALL_FORMATS
from hypothesis import given, settings
from hypothesis import strategies as st

from .vectors import ODD, PARIS, SAVE, VECTORS, feed, merged, put_together, reader_of

IDS = [f"{form}-{number}" for number, (form, *_) in enumerate(VECTORS)]
SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=12)


def test_every_format_has_vectors_with_all_types_and_more_than_one_call() -> None:
    for name in CALL_FORMATS:
        mine = [calls for form, _, _, calls in VECTORS if form == name]
        assert any(SAVE in calls for calls in mine), name
        assert name == "gpt_oss" or any(len(calls) > 1 for calls in mine), name


@pytest.mark.parametrize(("form", "reply", "text", "calls"), VECTORS, ids=IDS)
def test_a_documented_reply_is_read(form: str, reply: str, text: str, calls: list[Any]) -> None:
    read = put_together(feed(reader_of(form), reply))
    assert (read.text, read.calls) == (text, calls)


@pytest.mark.parametrize(("form", "reply"), [v[:2] for v in VECTORS], ids=IDS)
@settings(max_examples=15, deadline=None)
@given(sizes=SIZES)
def test_parts_do_not_depend_on_how_the_text_is_cut(
    form: str, reply: str, sizes: list[int]
) -> None:
    assert merged(feed(reader_of(form), reply, sizes)) == merged(feed(reader_of(form), reply))


@pytest.mark.parametrize(("form", "reply"), [v[:2] for v in VECTORS], ids=IDS)
def test_of_a_reply_that_breaks_off_nothing_is_lost(form: str, reply: str) -> None:
    """What is left of it is a beginning of what the whole says, or text; arguments that look whole are whole."""
    whole = put_together(feed(reader_of(form), reply))
    for end in range(len(reply)):
        read = put_together(feed(reader_of(form), reply[:end]))
        for got, expected in zip(read.calls, whole.calls, strict=False):
            assert got[0] == expected[0]
            assert got[1] is None or got == expected
        if not read.calls and not whole.reasoning:
            kept = "".join(read.text.split())
            assert kept == "".join(reply[:end].split()) or form == "gpt_oss"


@pytest.mark.parametrize("form", ["hermes", "mistral", "deepseek_v31", "granite", "gpt_oss"])
def test_arguments_in_json_come_out_as_they_are_written(form: str) -> None:
    """Each piece of a long argument is out before the next comes."""
    reply = next(r for f, r, _, calls in VECTORS if f == form and calls[-1] == SAVE)
    reader, out = reader_of(form), 0
    start = reply.rindex('{"text"')
    reader.push(reply[:start])
    for held, char in enumerate(reply[start : reply.rindex("}")], start=1):
        for part in reader.push(char):
            out += len(getattr(part, "text", ""))
        assert held - out <= 1


@pytest.mark.parametrize("form", ["qwen3_coder", "glm45", "functiongemma"])
def test_a_string_among_bare_arguments_comes_out_as_it_is_written(form: str) -> None:
    reply = next(r for f, r, _, calls in VECTORS if f == form and calls[-1] == SAVE)
    before, after = reply.split(ODD)
    reader = reader_of(form)
    reader.push(before)
    for char in ODD.replace("\n", "").replace("<", ""):
        assert reader.push(char)
    assert reader.push(after)


def test_only_one_call_where_only_one_is_wanted() -> None:
    for form, reply, text, calls in VECTORS:
        reader = reader_of(form, parallel=False)
        read = put_together(feed(reader, reply, [3]))
        assert (read.text, read.calls) == (text, calls[:1]), form
        assert reader.done == bool(calls)


def test_ids_are_fresh_and_as_templates_want_them() -> None:
    for form, reply, _, calls in VECTORS:
        parts = feed(reader_of(form), reply)
        ids = [part.id for part in parts if type(part).__name__ == "CallStart"]
        assert len(set(ids)) == len(calls)
        if form == "mistral":
            assert all(len(i) == 9 and i.isalnum() for i in ids)


def test_types_come_from_the_schema() -> None:
    """Text that could be a number stays a string where the schema says so, and the other way round."""
    tools = {
        "f": {
            "properties": {
                "a": {"type": "string"},
                "b": {"$ref": "#/$defs/n"},
                "c": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "d": {"enum": ["1", "2"]},
                "e": {"type": "integer"},
            },
            "$defs": {"n": {"type": ["number", "null"]}},
        }
    }
    values = {"a": "42", "b": "1e3", "c": "None", "d": "2", "e": "no", "other": "[1]", "more": "x"}
    expected = {"a": "42", "b": 1000, "c": None, "d": "2", "e": "no", "other": [1], "more": "x"}
    coder = "".join(f"<parameter={k}>\n{v}\n</parameter>\n" for k, v in values.items())
    glm = "".join(f"<arg_key>{k}</arg_key><arg_value>{v}</arg_value>" for k, v in values.items())
    for form, reply in (
        ("qwen3_coder", f"<tool_call>\n<function=f>\n{coder}</function>\n</tool_call>"),
        ("glm45", f"<tool_call>f{glm}</tool_call>"),
    ):
        read = put_together(feed(reader_of(form, tools=tools), reply, [4]))
        assert read.calls == [("f", expected)]


def test_control_characters_in_json_are_escaped() -> None:
    reply = '<tool_call>{"name": "get_weather", "arguments": {"city": "a\nb\tc"}}</tool_call>'
    read = put_together(feed(reader_of("hermes"), reply, [1]))
    assert read.calls == [("get_weather", {"city": "a\nb\tc"})]


def test_a_call_after_text_that_is_no_call() -> None:
    reply = f"<tool_call> I mean\n{VECTORS[0][1]}"
    read = put_together(feed(reader_of("hermes"), reply, [2]))
    assert (read.text, read.calls) == ("<tool_call> I mean", [PARIS])
