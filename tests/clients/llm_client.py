"""Simon Willison's llm, whose models for OpenAI's API take any base."""

from __future__ import annotations

from typing import Any

import pytest
from llm.default_plugins.openai_models import Chat


@pytest.fixture
def model(url: str, key: str) -> Any:
    made: Any = Chat("demo", model_name="demo", api_base=f"{url}/v1")
    made.key = key
    return made


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt(model: Any, stream: bool) -> None:
    response = model.prompt("What is the capital of France?", stream=stream, temperature=0)
    assert "Paris" in "".join(response)


def test_a_conversation(model: Any) -> None:
    conversation = model.conversation()
    assert "Madrid" in conversation.prompt("What is the capital of Spain?", temperature=0).text()
    then = conversation.prompt("Great, then what is it for Portugal?", temperature=0)
    assert "Lisbon" in then.text()
