"""Anthropic's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
FIXED: Any = {"model": "demo", "max_tokens": 40, "extra_body": {"temperature": 0}}
WEATHER: Any = {
    "name": "get_weather",
    "description": "Get the current weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
RESULT = '{"temperature": 27, "sky": "sunny"}'
QUESTION: Any = [{"role": "user", "content": "How warm would it be in Madrid right this minute?"}]


@pytest.fixture(scope="module")
def client(url: str, key: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as made:
        yield made


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_message_whole_and_streamed(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(messages=MESSAGES, **FIXED)
    assert "Paris" in text_of(whole) and whole.stop_reason == "end_turn"
    assert whole.stop_sequence is None and whole.usage.output_tokens > 0
    with client.messages.stream(messages=MESSAGES, **FIXED) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == text_of(whole) == text_of(final)
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_raw_events(client: anthropic.Anthropic) -> None:
    events = list(client.messages.create(messages=MESSAGES, stream=True, **FIXED))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_read(client: anthropic.Anthropic, stream: bool) -> None:
    asked: Any = {"tools": [WEATHER], **FIXED}
    if stream:
        with client.messages.stream(messages=QUESTION, **asked) as events:
            reply: Any = events.get_final_message()
    else:
        reply = client.messages.create(messages=QUESTION, **asked)
    assert reply.stop_reason == "tool_use"
    call = reply.content[-1]
    assert call.name == "get_weather" and call.input == {"city": "Madrid"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": RESULT}
    turns = [
        *QUESTION,
        {"role": "assistant", "content": [block.to_dict() for block in reply.content]},
        {"role": "user", "content": [result]},
    ]
    answer = client.messages.create(messages=turns, **asked)
    assert answer.stop_reason == "end_turn" and "27" in text_of(answer)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_call_may_be_forced(client: anthropic.Anthropic, choice: Any) -> None:
    schema = {**WEATHER["input_schema"], "properties": {"city": {"enum": ["Rome", "Oslo"]}}}
    asked = {**FIXED, "tools": [{**WEATHER, "input_schema": schema}], "tool_choice": choice}
    reply = client.messages.create(messages=MESSAGES, **asked)
    assert reply.stop_reason == "tool_use"
    assert reply.content[-1].input["city"] in ("Rome", "Oslo")


def test_structured_output(client: anthropic.Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string"}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    config: Any = {"format": {"type": "json_schema", "schema": schema}}
    asked = {**FIXED, "max_tokens": 200}
    reply = client.messages.create(messages=MESSAGES, output_config=config, **asked)
    assert text_of(reply).startswith("{")


def test_a_stop_sequence(client: anthropic.Anthropic) -> None:
    reply = client.messages.create(messages=MESSAGES, stop_sequences=["Paris"], **FIXED)
    assert reply.stop_reason == "stop_sequence" and reply.stop_sequence == "Paris"
    assert "Paris" not in text_of(reply)


def test_tokens_are_counted_as_usage_counts_them(client: anthropic.Anthropic) -> None:
    asked: Any = {"model": "demo", "messages": QUESTION, "tools": [WEATHER]}
    count = client.messages.count_tokens(**asked).input_tokens
    usage = client.messages.create(**asked, max_tokens=1).usage
    assert count == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_models(client: anthropic.Anthropic) -> None:
    assert [model.id for model in client.models.list()] == ["demo"]
    assert client.models.retrieve("demo").type == "model"


def test_errors_have_their_classes(client: anthropic.Anthropic, url: str) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(model="claude", messages=MESSAGES, max_tokens=1)
    assert missing.value.request_id
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="demo", messages=[], max_tokens=1)
    with (
        anthropic.Anthropic(base_url=url, api_key="wrong", max_retries=0) as other,
        pytest.raises(anthropic.AuthenticationError),
    ):
        other.messages.create(model="demo", messages=MESSAGES, max_tokens=1)


def test_a_stream_may_be_left(client: anthropic.Anthropic) -> None:
    asked = {**FIXED, "max_tokens": 1500}
    with client.messages.stream(messages=MESSAGES, **asked) as stream:
        next(iter(stream))
    assert client.messages.create(messages=MESSAGES, **FIXED).stop_reason == "end_turn"
