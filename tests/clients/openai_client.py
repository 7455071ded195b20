"""OpenAI's own client, whatever its version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pydantic
import pytest

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def client(url: str, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as made:
        yield made


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["demo"]
    assert client.models.retrieve("demo").object == "model"


def test_chat_whole_and_streamed(client: openai.OpenAI) -> None:
    options: Any = {"model": "demo", "messages": MESSAGES, "temperature": 0, "max_tokens": 20}
    whole = client.chat.completions.create(**options).choices[0]
    assert "Paris" in (whole.message.content or "")
    chunks = list(client.chat.completions.create(**options, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.message.content
    assert chunks[-1].choices[0].finish_reason == whole.finish_reason


def test_the_streaming_accumulator(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="demo", messages=MESSAGES, temperature=0) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert "Paris" in (final.choices[0].message.content or "")


def test_completions(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="demo", prompt=["a", "b"], max_tokens=3, logprobs=1)
    assert [choice.index for choice in reply.choices] == [0, 1]


def test_a_wrong_key_is_an_authentication_error(url: str) -> None:
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "get_time",
            "description": "Get the time in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 20}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    },
]
WEATHER: Any = [{"role": "user", "content": "What is the weather in Paris?"}]


def ask(client: openai.OpenAI, **options: Any) -> Any:
    given = {"model": "demo", "messages": WEATHER, "tools": TOOLS, "temperature": 0}
    return client.chat.completions.create(**(given | {"max_tokens": 120} | options))


def test_a_tool_is_called_and_its_result_is_used(client: openai.OpenAI) -> None:
    choice = ask(client).choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": '{"weather": "sunny"}'}
    after = ask(client, messages=[*WEATHER, choice.message, result]).choices[0]
    assert after.finish_reason == "stop" and "sunny" in after.message.content


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_time"}}]
)
def test_a_tool_that_must_be_called_is_called(client: openai.OpenAI, choice: Any) -> None:
    hello: Any = [{"role": "user", "content": "Hello!"}]
    reply = ask(client, messages=hello, tool_choice=choice, parallel_tool_calls=False).choices[0]
    assert reply.finish_reason == "tool_calls"
    (call,) = reply.message.tool_calls
    assert call.function.name in (
        ("get_weather", "get_time") if choice == "required" else ("get_time",)
    )
    assert isinstance(json.loads(call.function.arguments)["city"], str)


def test_a_call_is_accumulated_from_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="demo", messages=WEATHER, tools=TOOLS, temperature=0
    ) as stream:
        kinds = {event.type for event in stream}
        (call,) = stream.get_final_completion().choices[0].message.tool_calls or ()
    assert "tool_calls.function.arguments.delta" in kinds
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def test_responses_go_on_from_each_other(client: openai.OpenAI) -> None:
    first = client.responses.create(
        model="demo", input="What is the capital of France?", temperature=0, max_output_tokens=20
    )
    assert "Paris" in first.output_text
    with client.responses.stream(
        model="demo", input="And of Italy?", previous_response_id=first.id, max_output_tokens=20
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response() if kinds[-1] == "response.completed" else None
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert final is None or final.previous_response_id == first.id
    assert client.responses.retrieve(first.id).output_text == first.output_text
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


def test_a_forced_call_is_parsed(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}}
    schema |= {"required": ["city"], "additionalProperties": False}
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": schema}}
    reply = client.chat.completions.create(
        model="demo", messages=MESSAGES, tools=[tool], tool_choice="required", max_tokens=100
    )
    calls: Any = reply.choices[0].message.tool_calls
    assert reply.choices[0].finish_reason == "tool_calls"
    assert json.loads(calls[0].function.arguments)["city"] in ("Paris", "Rome")


class City(pydantic.BaseModel):
    """Where something is."""

    city: str = pydantic.Field(max_length=20)
    continent: Literal["Europe", "Asia"]


def test_a_model_of_pydantic_is_parsed(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(
        model="demo", messages=MESSAGES, response_format=City, temperature=0, max_tokens=300
    )
    assert isinstance(reply.choices[0].message.parsed, City)


def test_a_strict_tool_is_called_or_not_as_the_model_likes(client: openai.OpenAI) -> None:
    class get_weather(pydantic.BaseModel):
        city: Literal["London", "Rome"]  # which is not asked for

    options: Any = {"tools": [openai.pydantic_function_tool(get_weather)], "temperature": 0}
    reply = client.chat.completions.parse(model="demo", messages=WEATHER, max_tokens=120, **options)
    (call,) = reply.choices[0].message.tool_calls or ()
    assert isinstance(call.function.parsed_arguments, get_weather)
    said = client.chat.completions.parse(model="demo", messages=MESSAGES, max_tokens=20, **options)
    assert "Paris" in (said.choices[0].message.content or "")
