"""Pydantic AI's agents on OpenAI's API."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelHTTPError, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

FIXED = ModelSettings(temperature=0, max_tokens=150)


class Capital(BaseModel):
    """A capital."""

    capital: str = Field(max_length=20)


@pytest.fixture
def model(url: str, key: str) -> OpenAIChatModel:
    return OpenAIChatModel("demo", provider=OpenAIProvider(base_url=f"{url}/v1", api_key=key))


def test_a_run(model: OpenAIChatModel) -> None:
    result = Agent(model, model_settings=FIXED).run_sync("What is the capital of France?")
    assert "Paris" in result.output


def test_a_tool_is_called_and_its_result_read(model: OpenAIChatModel) -> None:
    agent: Any = Agent(model, model_settings=FIXED)
    asked = []

    @agent.tool_plain
    def get_weather(city: str) -> dict[str, Any]:
        """Get the current weather of a city"""
        asked.append(city)
        return {"temperature": 27, "sky": "sunny"}

    result = agent.run_sync("How warm would it be in Madrid right this minute?")
    assert asked == ["Madrid"] and "27" in result.output


def test_structured_output(model: OpenAIChatModel) -> None:
    agent = Agent(model, output_type=NativeOutput(Capital), model_settings=FIXED)
    assert isinstance(agent.run_sync("What is the capital of France?").output, Capital)


def test_streamed(model: OpenAIChatModel) -> None:
    agent = Agent(model, model_settings=FIXED)
    result = agent.run_stream_sync("What is the capital of France?")
    assert "Paris" in list(result.stream_text())[-1]


def test_a_wrong_key(url: str) -> None:
    provider = OpenAIProvider(base_url=f"{url}/v1", api_key="wrong")
    with pytest.raises(ModelHTTPError) as error:
        Agent(OpenAIChatModel("demo", provider=provider)).run_sync("x")
    assert error.value.status_code == 401
