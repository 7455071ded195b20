"""Calls that are forced, and reasoning, over HTTP; the null platform draws whatever the grammar allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import jsonschema
import openai
import pydantic
import pytest

from .conftest import CHATML, Running, make_checkpoint

ADD = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "minimum": 0, "maximum": 99},
        "b": {"enum": ["one", "two"]},
    },
    "required": ["a", "b"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "add", "parameters": ADD}},
    {"type": "function", "function": {"name": "now", "parameters": {"maxProperties": 0}}},
]
NAMED: Any = {"type": "function", "function": {"name": "add"}}
THINKING = CHATML.replace(
    "{{ '<|im_start|>assistant\n' }}",
    "{{ '<|im_start|>assistant\n' }}{%- if enable_thinking is not defined or enable_thinking %}{{ '<think>\n' }}"
    "{%- else %}{{ '<think>\n\n</think>\n\n' }}{% endif %}",
)


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of a model whose template opens the reasoning."""
    directory = tmp_path_factory.mktemp("models") / "thinking"
    running = Running(make_checkpoint(directory, template=THINKING))
    yield running
    running.stop()


# calls that are the whole of an answer: `{` begins one
BARE = CHATML.replace("<tool_call>{", '<|start_header_id|>{"parameters": ').replace(
    "</tool_call>", ""
)


class Add(pydantic.BaseModel):
    """Adds."""

    a: Literal[1, 2, 3]
    b: bool


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(make_checkpoint(tmp_path_factory.mktemp("models") / "bare", template=BARE))
    yield running
    running.stop()


def ask(client: openai.OpenAI, **options: Any) -> Any:
    given = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
    return client.chat.completions.create(**(given | options))


def check(call: Any, *names: str) -> None:
    assert call.function.name in names
    if call.function.name == "add":
        jsonschema.validate(json.loads(call.function.arguments), ADD)


@pytest.mark.parametrize(("choice", "names"), [("required", ("add", "now")), (NAMED, ("add",))])
def test_a_forced_call_comes_and_is_valid(
    client: openai.OpenAI, choice: Any, names: tuple[str, ...]
) -> None:
    for seed in range(6):
        options = {"temperature": 1, "seed": seed, "max_tokens": 400, "n": 2}
        reply = ask(client, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, **options)
        for one in reply.choices:
            assert one.finish_reason == "tool_calls" and not one.message.content
            (call,) = one.message.tool_calls
            check(call, *names)


def test_more_than_one_call_only_where_that_is_wanted(client: openai.OpenAI) -> None:
    counts = set()
    for seed in range(8):
        options = {"temperature": 1, "seed": seed, "max_tokens": 400}
        (choice,) = ask(client, tools=TOOLS, tool_choice="required", **options).choices
        calls = choice.message.tool_calls
        for call in calls:
            if choice.finish_reason != "length":
                check(call, "add", "now")
        counts.add(len(calls))
    assert max(counts) > 1


def test_a_forced_call_is_streamed_as_it_is_whole(client: openai.OpenAI) -> None:
    options: Any = {"tools": TOOLS, "tool_choice": NAMED, "max_tokens": 400}
    (whole,) = ask(client, **options).choices[0].message.tool_calls
    chunks = [c.choices[0] for c in ask(client, **options, stream=True)]
    deltas = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
    assert [d.function.name for d in deltas if d.function.name] == ["add"]
    assert [bool(d.id) for d in deltas].count(True) == 1 and {d.index for d in deltas} == {0}
    assert len(deltas) > 2  # its arguments come as they are drawn
    assert "".join(d.function.arguments for d in deltas) == whole.function.arguments
    assert [c.finish_reason for c in chunks if c.finish_reason] == ["tool_calls"]
    assert not any(chunk.delta.content for chunk in chunks)


def test_what_cannot_be_called_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="'sub', which is not one of") as error:
        ask(client, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "sub"}})
    assert error.value.param == "tool_choice"
    odd = {"type": "function", "function": {"name": "f", "parameters": {"type": "strange"}}}
    with pytest.raises(openai.BadRequestError, match="tools"):
        ask(client, tools=[odd], tool_choice="required")


def test_reasoning_is_apart_counted_and_may_be_hidden(thinking: Running) -> None:
    with thinking.client() as client:
        reply = ask(client, max_tokens=12)
        message, usage = reply.choices[0].message, reply.usage
        assert message.content == "" and message.reasoning_content
        assert message.reasoning == message.reasoning_content
        assert usage.completion_tokens_details.reasoning_tokens == usage.completion_tokens == 12
        chunks = list(ask(client, max_tokens=12, stream=True))
        pieces = [getattr(c.choices[0].delta, "reasoning_content", None) for c in chunks]
        assert "".join(p for p in pieces if p) == message.reasoning_content
        hidden = ask(client, max_tokens=12, extra_body={"include_reasoning": False})
        assert not hasattr(hidden.choices[0].message, "reasoning_content")
        chunks = list(
            ask(client, max_tokens=12, stream=True, extra_body={"include_reasoning": False})
        )
        assert not any(hasattr(c.choices[0].delta, "reasoning_content") for c in chunks)


def test_effort_is_told_to_the_template_or_refused(thinking: Running, server: Running) -> None:
    with thinking.client() as client:
        for effort, reasons in (("none", False), ("minimal", True), ("high", True)):
            reply = ask(client, max_tokens=8, reasoning_effort=effort)
            assert hasattr(reply.choices[0].message, "reasoning_content") == reasons
        switched = ask(
            client, max_tokens=8, extra_body={"chat_template_kwargs": {"enable_thinking": False}}
        )
        assert switched.choices[0].message.content
        with pytest.raises(openai.BadRequestError, match="must be one of none, minimal"):
            ask(client, reasoning_effort="huge")
    with server.client() as client:
        assert ask(client, max_tokens=2, reasoning_effort="none").choices


def test_an_answer_of_a_form_follows_reasoning_that_was_turned_off(thinking: Running) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "add", "schema": ADD}}
    with thinking.client() as client:
        options: Any = {"reasoning_effort": "none", "response_format": form, "max_tokens": 400}
        seen = set()
        for seed in range(4):
            message = ask(client, **options, temperature=1, seed=seed).choices[0].message
            if not hasattr(message, "reasoning_content"):
                jsonschema.validate(json.loads(message.content), ADD)
            seen.add(message.content)
        assert seen


def test_with_a_strict_tool_any_text_may_come_all_the_same(bare: Running) -> None:
    loose: Any = {"type": "function", "function": {"name": "now", "parameters": {"not": {}}}}
    tools = [openai.pydantic_function_tool(Add), loose]
    texts = set()
    with bare.client() as client:
        for seed in range(4):
            options: Any = {"temperature": 1, "seed": seed, "max_tokens": 20}
            options["extra_body"] = {"min_tokens": 9}
            message = ask(client, tools=tools, **options).choices[0].message
            assert not message.tool_calls
            texts.add(message.content)
    assert len(texts) == 4


def _with_tool(running: Running, name: str, schema: dict[str, Any], strict: bool) -> None:
    """Offer a tool, which need not be called, in one of the dialects."""
    about: Any = {"name": name, "strict": strict}
    hi: Any = [{"role": "user", "content": "hi"}]
    with running.client() as client:
        function = about | {"parameters": schema}
        if name == "chat":
            ask(client, max_tokens=4, tools=[{"type": "function", "function": function}])
        elif name == "responses":
            tools = [function | {"type": "function"}]
            client.responses.create(model="tiny", input="hi", max_output_tokens=4, tools=tools)
        else:
            url = f"http://127.0.0.1:{running.port}"
            with anthropic.Anthropic(base_url=url, api_key="-", max_retries=0) as other:
                tools = [about | {"input_schema": schema}]
                other.messages.create(model="tiny", max_tokens=4, messages=hi, tools=tools)


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_a_strict_tool_that_cannot_be_held_to_is_refused(bare: Running, dialect: str) -> None:
    cannot = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    _with_tool(bare, dialect, cannot, False)
    refused = (openai.BadRequestError, anthropic.BadRequestError)
    with pytest.raises(refused, match=f"{dialect}.*, which is strict, .*uniqueItems"):
        _with_tool(bare, dialect, cannot, True)


def test_an_answers_form_beside_calls_that_must_come(client: openai.OpenAI) -> None:
    def form(schema: dict[str, Any]) -> Any:
        return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    options: Any = {"tools": TOOLS, "tool_choice": NAMED, "max_tokens": 400}
    (choice,) = ask(client, response_format=form(ADD), **options).choices
    assert choice.finish_reason == "tool_calls" and not choice.message.content
    check(choice.message.tool_calls[0], "add")
    with pytest.raises(openai.BadRequestError, match="/uniqueItems") as error:
        ask(client, response_format=form({"type": "array", "uniqueItems": True}), **options)
    assert "response_format" in str(error.value.param)
