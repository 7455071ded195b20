"""LangChain's model for OpenAI's API."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Capital(BaseModel):
    """A capital."""

    capital: str


@tool
def get_weather(city: str) -> str:
    """Get the current weather of a city"""
    return '{"temperature": 27, "sky": "sunny"}'


@pytest.fixture
def model(url: str, key: str) -> ChatOpenAI:
    options: Any = {"base_url": f"{url}/v1", "api_key": key, "max_retries": 0}
    return ChatOpenAI(model="demo", temperature=0, max_tokens=120, **options)


def test_whole_and_streamed(model: ChatOpenAI) -> None:
    whole = model.invoke("What is the capital of France?")
    assert "Paris" in str(whole.content)
    assert whole.usage_metadata and whole.usage_metadata["output_tokens"] > 0
    chunks = list(model.stream("What is the capital of France?"))
    assert "".join(str(chunk.content) for chunk in chunks) == whole.content


def test_a_tool_is_called_and_its_result_read(model: ChatOpenAI) -> None:
    asking = model.bind_tools([get_weather])
    turns: list[Any] = [HumanMessage("How warm would it be in Madrid right this minute?")]
    reply = asking.invoke(turns)
    assert isinstance(reply, AIMessage) and reply.tool_calls[0]["args"] == {"city": "Madrid"}
    result: ToolMessage = get_weather.invoke(reply.tool_calls[0])
    assert "27" in str(asking.invoke([*turns, reply, result]).content)


def test_structured_output(model: ChatOpenAI) -> None:
    shaped = model.with_structured_output(Capital, method="json_schema")
    found = shaped.invoke("What is the capital of France?")
    assert isinstance(found, Capital)


def test_stop(model: ChatOpenAI) -> None:
    assert "Paris" not in str(
        model.invoke("What is the capital of France?", stop=["Paris"]).content
    )


def test_a_wrong_key(url: str) -> None:
    options: Any = {"base_url": f"{url}/v1", "api_key": "wrong", "max_retries": 0}
    with pytest.raises(openai.AuthenticationError):
        ChatOpenAI(model="demo", **options).invoke("x")
