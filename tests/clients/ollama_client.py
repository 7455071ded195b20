"""Ollama's own client."""

from __future__ import annotations

import json
from typing import Any

import ollama
import pytest

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
QUESTION: Any = [{"role": "user", "content": "How warm would it be in Madrid right this minute?"}]
FIXED = {"temperature": 0, "num_predict": 40}


def get_weather(city: str) -> str:
    """Get the current weather of a city

    Args:
        city: its name
    """
    return json.dumps({"temperature": 27, "sky": "sunny"})


@pytest.fixture(scope="module")
def client(url: str, key: str) -> ollama.Client:
    return ollama.Client(host=url, headers={"Authorization": f"Bearer {key}"})


def test_a_chat_whole_and_streamed(client: ollama.Client) -> None:
    whole = client.chat("demo", MESSAGES, options=FIXED)
    assert "Paris" in (whole.message.content or "")
    assert whole.done and whole.done_reason == "stop"
    assert whole.eval_count and whole.prompt_eval_count and whole.total_duration
    parts = list(client.chat("demo:latest", MESSAGES, options=FIXED, stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def test_a_completion_and_its_context(client: ollama.Client) -> None:
    first = client.generate("demo", "What is the capital of France?", options=FIXED)
    assert "Paris" in (first.response or "") and first.context
    again = client.generate("demo", "And of Italy?", context=first.context, options=FIXED)
    assert again.context and list(again.context[: len(first.context)]) == list(first.context)
    raw = client.generate("demo", "The capital", raw=True, stream=True, options=FIXED)
    assert list(raw)[-1].done


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_read(client: ollama.Client, stream: bool) -> None:
    asked: Any = {"model": "demo", "tools": [get_weather], "options": FIXED}
    got: Any = client.chat(messages=QUESTION, stream=stream, **asked)
    parts = list(got) if stream else [got]
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [call.function.name for call in calls] == ["get_weather"]
    assert dict(calls[0].function.arguments) == {"city": "Madrid"}
    result = get_weather(**calls[0].function.arguments)
    turns = [
        *QUESTION,
        {"role": "assistant", "content": "", "tool_calls": [calls[0].model_dump()]},
        {"role": "tool", "content": result, "tool_name": "get_weather"},
    ]
    answer = client.chat(messages=turns, **asked)
    assert "27" in (answer.message.content or "")


def test_structured_output(client: ollama.Client) -> None:
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 20}},
        "required": ["capital"],
    }
    options = {**FIXED, "num_predict": 200}
    for form in (schema, "json"):
        reply: Any = client.chat("demo", MESSAGES, format=form, options=options)
        assert reply.message.content.lstrip().startswith("{")
        if form is schema:
            assert "capital" in json.loads(reply.message.content)


def test_stop(client: ollama.Client) -> None:
    reply = client.chat("demo", MESSAGES, options={**FIXED, "stop": ["Paris"]})
    assert "Paris" not in (reply.message.content or "") and reply.done_reason == "stop"


def test_the_catalogue(client: ollama.Client) -> None:
    assert [model.model for model in client.list().models] == ["demo:latest"]
    assert [model.model for model in client.ps().models] == ["demo:latest"]
    shown = client.show("demo")
    assert shown.modelinfo and "tools" in (shown.capabilities or ())


def test_errors_have_a_status(client: ollama.Client, url: str) -> None:
    with pytest.raises(ollama.ResponseError) as missing:
        client.chat("other", MESSAGES)
    assert missing.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as wrong:
        list(client.chat("demo", MESSAGES, options={"temperature": 9}, stream=True))
    assert wrong.value.status_code == 400
    with pytest.raises(ollama.ResponseError) as locked:
        ollama.Client(host=url).list()
    assert locked.value.status_code == 401


def test_a_stream_may_be_left(client: ollama.Client) -> None:
    parts = client.chat("demo", MESSAGES, stream=True, options={"num_predict": 1500})
    next(iter(parts))
    del parts
    assert client.chat("demo", MESSAGES, options=FIXED).done
