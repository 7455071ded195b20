"""Schemas come from clients: whatever they hold, reading and forcing calls ends, and refuses what it must by an error."""

from __future__ import annotations

from typing import Any

import pytest
from dovetail.errors import RequestError
from dovetail.text.calls.grammar import Frame
from dovetail.text.calls.table import CALL_FORMATS
from dovetail.text.calls.typed import ALL, to_json, types_of
from hypothesis import given, settings
from hypothesis import strategies as st

from .vectors import feed, reader_of

KEYWORDS = (
    "type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "$defs", "properties", "required", "items",
    "minLength", "maxLength", "additionalProperties", "description", "pattern",
)  # fmt: skip
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from(["string", "integer", "null", "array", "object", "#", "#/$defs/a", "a"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*KEYWORDS, "a", "b"]), inner, max_size=4),
    ),
    max_leaves=12,
)
SCHEMAS = st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=4)
REPLIES = {
    "qwen3_coder": "<tool_call><function=f><parameter=a>1</parameter></function></tool_call>",
    "glm45": "<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>",
    "functiongemma": "<start_function_call>call:f{a:<escape>1<escape>}<end_function_call>",
}


@settings(deadline=None, max_examples=300)
@given(schema=SCHEMAS)
def test_any_schema_is_read_by(schema: dict[str, Any]) -> None:
    for parameters in (schema, {"properties": {"a": schema}, **schema}):
        assert types_of(parameters, parameters) <= ALL
        to_json("1", parameters, parameters)
        for form, reply in REPLIES.items():
            assert feed(reader_of(form, tools={"f": parameters}), reply)


@pytest.mark.parametrize("form", CALL_FORMATS)
@settings(deadline=None, max_examples=60)
@given(schema=SCHEMAS)
def test_any_schema_makes_a_grammar_or_an_error(form: str, schema: dict[str, Any]) -> None:
    for parameters in (schema, {"type": "object", "properties": {"a": schema}}):
        frame = Frame(
            calls=CALL_FORMATS[form],
            tools={"f": parameters},
            parallel=True,
            reasoning=None,
            opened=False,
            tokens={},
        )
        try:
            assert frame.must_call().startswith("start: ")
        except RequestError as error:
            assert error.param == "tools"


def test_references_in_circles_end() -> None:
    loop = {"anyOf": [{"$ref": "#"}] * 50}
    assert types_of(loop, loop) == ALL
    both = {"allOf": [{"$ref": "#"}] * 50, "type": "string"}
    assert types_of(both, both) == {"string"}
