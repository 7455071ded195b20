"""llama.cpp's samplers over HTTP, as fields beside OpenAI's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

SETTINGS: list[dict[str, Any]] = [
    {"mirostat": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.2},
    {"typical_p": 0.7, "xtc_probability": 0.5, "xtc_threshold": 0.05},
    {"top_n_sigma": 1.5, "dynatemp_range": 0.5, "dynatemp_exponent": 2},
    {
        "dry_multiplier": 0.8,
        "dry_base": 2,
        "dry_allowed_length": 1,
        "dry_penalty_last_n": 32,
        "dry_sequence_breakers": ["fox", "\n"],
        "repeat_last_n": 8,
    },
    {"samplers": ["dry", "top_k", "typ_p", "temperature"]},
]


def ask(client: openai.OpenAI, number: int) -> str:
    settings = SETTINGS[number % len(SETTINGS)]
    if number % 2:
        messages: Any = [{"role": "user", "content": f"fox {number}"}]
        reply = client.chat.completions.create(
            model="tiny", messages=messages, seed=number, max_tokens=12, extra_body=settings
        )
        return reply.choices[0].message.content or ""
    answer = client.completions.create(
        model="tiny", prompt=f"fox {number}", seed=number, max_tokens=12, extra_body=settings
    )
    return answer.choices[0].text


def test_seeds_give_the_same_alone_and_under_load(client: openai.OpenAI) -> None:
    alone = [ask(client, number) for number in range(10)]
    with ThreadPoolExecutor(10) as pool:
        together = list(pool.map(lambda number: ask(client, number), range(10)))
    assert together == alone


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"mirostat": 3}, "mirostat"),
        ({"mirostat": 1, "typical_p": 0.5}, "typical_p"),
        ({"typical_p": 0}, "typical_p"),
        ({"xtc_probability": 1.5}, "xtc_probability"),
        ({"dry_base": 0.5}, "dry_base"),
        ({"dry_sequence_breakers": ["x" * 41]}, "dry_sequence_breakers"),
        ({"dry_sequence_breakers": ["a"] * 17}, "dry_sequence_breakers"),
        ({"samplers": ["top_k", "infill"]}, "samplers"),
        ({"samplers": ["top_k", "penalties"]}, "samplers"),
        ({"samplers": ["top_k", "top_k"]}, "samplers"),
        ({"repeat_last_n": -2}, "repeat_last_n"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    client: openai.OpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="tiny", prompt="x", extra_body=fields)
    assert refused.value.param == param
