"""Instructor: replies as objects, by schema and by tool."""

from __future__ import annotations

from typing import Any

import instructor
import openai
import pytest
from pydantic import BaseModel, Field


class Capital(BaseModel):
    """A capital."""

    capital: str = Field(max_length=20)


MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.mark.parametrize("mode", [instructor.Mode.JSON_SCHEMA, instructor.Mode.TOOLS])
def test_a_reply_is_an_object(url: str, key: str, mode: Any) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    asking = instructor.from_openai(client, mode=mode)
    found = asking.chat.completions.create(
        model="demo",
        messages=MESSAGES,
        response_model=Capital,
        temperature=0,
        max_tokens=150,
        max_retries=0,
    )
    assert isinstance(found, Capital) and len(found.capital) <= 20
