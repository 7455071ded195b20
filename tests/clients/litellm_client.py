"""LiteLLM, through the three dialects it can be pointed at."""

from __future__ import annotations

import json
from typing import Any

import litellm
import pytest

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
QUESTION: Any = [{"role": "user", "content": "How warm would it be in Madrid right this minute?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a city",
        "parameters": PARAMETERS,
    },
}
ROUTES = ["openai/demo", "anthropic/demo", "ollama_chat/demo"]


@pytest.fixture(params=ROUTES)
def options(request: pytest.FixtureRequest, url: str, key: str) -> dict[str, Any]:
    base = f"{url}/v1" if request.param.startswith("openai") else url
    return {
        "model": request.param,
        "api_base": base,
        "api_key": key,
        "temperature": 0,
        "max_tokens": 60,
        "num_retries": 0,
    }


def test_whole_and_streamed(options: dict[str, Any]) -> None:
    whole: Any = litellm.completion(messages=MESSAGES, **options)
    text = whole.choices[0].message.content
    assert "Paris" in text and whole.choices[0].finish_reason == "stop"
    assert whole.usage.completion_tokens > 0
    chunks: Any = litellm.completion(messages=MESSAGES, stream=True, **options)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text


def test_a_tool_is_called_and_its_result_read(options: dict[str, Any]) -> None:
    reply: Any = litellm.completion(messages=QUESTION, tools=[WEATHER], **options)
    message = reply.choices[0].message
    call = message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Madrid"}
    result = '{"temperature": 27, "sky": "sunny"}'
    turns = [
        *QUESTION,
        message.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "name": "get_weather", "content": result},
    ]
    answer: Any = litellm.completion(messages=turns, tools=[WEATHER], **options)
    assert "27" in answer.choices[0].message.content


def test_a_stop_string(options: dict[str, Any]) -> None:
    reply: Any = litellm.completion(messages=MESSAGES, stop=["Paris"], **options)
    assert "Paris" not in (reply.choices[0].message.content or "")
    assert reply.choices[0].finish_reason == "stop"


def test_errors_have_their_classes(options: dict[str, Any]) -> None:
    route = options["model"].partition("/")[0]
    with pytest.raises(litellm.exceptions.AuthenticationError):
        litellm.completion(messages=MESSAGES, **{**options, "api_key": "wrong"})
    with pytest.raises((litellm.NotFoundError, litellm.exceptions.APIError)):
        litellm.completion(messages=MESSAGES, **{**options, "model": f"{route}/other"})
