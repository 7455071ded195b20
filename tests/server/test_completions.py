"""/v1/completions as OpenAI's own client and evaluation harnesses see it."""

from __future__ import annotations

from typing import Any

import openai
import pytest


def ask(client: openai.OpenAI, prompt: Any = "The quick", **options: Any) -> Any:
    return client.completions.create(model="tiny", prompt=prompt, **{"seed": 1, **options})


def encode(client: openai.OpenAI, text: str) -> list[int]:
    base = str(client.base_url).removesuffix("/v1/")
    answer = client.post(f"{base}/tokenize", cast_to=object, body={"prompt": text})
    tokens: list[int] = answer["tokens"]  # type: ignore[index]
    return tokens


def test_sixteen_tokens_unless_told_otherwise(client: openai.OpenAI) -> None:
    reply = ask(client)
    assert reply.object == "text_completion" and reply.usage.completion_tokens == 16
    assert reply.choices[0].finish_reason == "length"


def test_streamed_and_whole_say_the_same(client: openai.OpenAI) -> None:
    whole = ask(client, max_tokens=50).choices[0].text
    chunks = list(ask(client, max_tokens=50, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].text for c in chunks[:-1]) == whole
    assert [c.choices[0].finish_reason for c in chunks[:-1]][-1] == "length"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 50


def test_prompts_of_every_form_give_the_same(client: openai.OpenAI) -> None:
    ids = encode(client, "The quick")
    expected = ask(client).choices[0].text
    for prompt in (["The quick"], ids, [ids]):
        assert ask(client, prompt).choices[0].text == expected


def test_lists_of_prompts_and_n_are_in_index_order(client: openai.OpenAI) -> None:
    prompts = ["one", "two", "three four"]
    alone = [ask(client, p, n=2, temperature=1.0) for p in prompts]
    together = ask(client, prompts, n=2, temperature=1.0)
    assert [choice.index for choice in together.choices] == list(range(6))
    expected = [choice.text for reply in alone for choice in reply.choices]
    assert [choice.text for choice in together.choices] == expected
    assert together.usage.prompt_tokens == sum(reply.usage.prompt_tokens for reply in alone)
    texts = [""] * 6
    for chunk in ask(client, prompts, n=2, temperature=1.0, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == expected


@pytest.mark.parametrize("stream", [False, True])
def test_echo(client: openai.OpenAI, stream: bool) -> None:
    plain = ask(client).choices[0].text
    got = ask(client, echo=True, stream=stream)
    text = "".join(c.choices[0].text for c in got) if stream else got.choices[0].text
    assert text == "The quick" + plain
    ids = encode(client, "The quick")
    assert ask(client, ids, echo=True).choices[0].text == text


def test_echo_without_generation_scores_the_prompt(client: openai.OpenAI) -> None:
    ids = encode(client, "The quick brown")
    reply = ask(client, "The quick brown", echo=True, max_tokens=0, logprobs=2)
    choice = reply.choices[0]
    assert choice.text == "The quick brown" and choice.finish_reason == "length"
    assert reply.usage.completion_tokens == 0 and reply.usage.prompt_tokens == len(ids)
    logprobs = choice.logprobs
    assert len(logprobs.tokens) == len(ids) and "".join(logprobs.tokens) == "The quick brown"
    assert logprobs.token_logprobs[0] is None and logprobs.top_logprobs[0] is None
    assert all(value <= 0 for value in logprobs.token_logprobs[1:])
    starts = [len("".join(logprobs.tokens[:i])) for i in range(len(ids))]
    assert logprobs.text_offset == starts


@pytest.mark.parametrize("stream", [False, True])
def test_echo_with_logprobs_joins_prompt_and_reply(client: openai.OpenAI, stream: bool) -> None:
    count = len(encode(client, "The quick"))
    got = ask(client, echo=True, logprobs=1, max_tokens=5, stream=stream)
    parts = [c.choices[0].logprobs for c in got] if stream else [got.choices[0].logprobs]
    tokens = [token for part in parts if part for token in part.tokens]
    offsets = [offset for part in parts if part for offset in part.text_offset]
    assert len(tokens) == count + 5
    assert offsets == sorted(offsets) and offsets[count] == len("The quick")


def test_logprobs_of_a_reply(client: openai.OpenAI) -> None:
    reply = ask(client, logprobs=3, max_tokens=20)
    logprobs = reply.choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == 20
    for token, value, top in zip(
        logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True
    ):
        assert top[token] == value and 1 <= len(top) <= 4
    only = ask(client, logprobs=0).choices[0].logprobs
    assert all(len(top) == 1 for top in only.top_logprobs)


def test_prompt_logprobs(client: openai.OpenAI) -> None:
    ids = encode(client, "The quick brown")
    reply = ask(client, ids, extra_body={"prompt_logprobs": 1}, max_tokens=1)
    found = reply.choices[0].prompt_logprobs
    assert found[0] is None and len(found) == len(ids)
    for token, entries in zip(ids[1:], found[1:], strict=True):
        assert entries[str(token)]["logprob"] <= 0


def test_the_default_is_cut_to_the_context(client: openai.OpenAI) -> None:
    ids = (encode(client, "a b c d e f g h") * 1000)[:4090]
    assert ask(client, ids).usage.completion_tokens <= 6
    assert ask(client, ids, extra_body={"ignore_eos": True}).usage.completion_tokens == 6


def test_logit_bias_and_min_tokens_are_taken(client: openai.OpenAI) -> None:
    reply = ask(client, logit_bias={"77": 100}, extra_body={"min_tokens": 4}, max_tokens=6)
    assert 4 <= reply.usage.completion_tokens <= 6


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"suffix": "end"}, "suffix"),
        ({"extra_body": {"use_beam_search": True}}, "use_beam_search"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: openai.OpenAI, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, **options)
    assert error.value.param == param and error.value.code == "unsupported_parameter"


def test_echo_streams_without_generation(client: openai.OpenAI) -> None:
    chunks = list(ask(client, ["one", "two"], echo=True, max_tokens=0, n=2, stream=True))
    texts = {chunk.choices[0].index: chunk.choices[0].text for chunk in chunks}
    assert texts == {0: "one", 1: "one", 2: "two", 3: "two"}
    assert [chunk.choices[0].finish_reason for chunk in chunks] == ["length"] * 4


def test_text_offsets_rise_over_special_tokens(client: openai.OpenAI) -> None:
    prompt = "<|im_start|>user\nhi"
    options: dict[str, Any] = {"echo": True, "logprobs": 0, "max_tokens": 2}
    found = ask(client, prompt, **options).choices[0].logprobs
    count = len(encode(client, prompt))
    starts = [len("".join(found.tokens[:i])) for i in range(count + 1)]
    assert found.text_offset[: count + 1] == starts and starts[count] == len(prompt)
    reply = ask(client, encode(client, prompt), **options).choices[0]  # echoed without it
    assert reply.logprobs.text_offset[:2] == [0, 0]
    assert reply.logprobs.text_offset[count] == len("user\nhi")


def test_best_of_gives_the_likeliest_first(client: openai.OpenAI) -> None:
    options: dict[str, Any] = {"temperature": 1.0, "logprobs": 0, "max_tokens": 12}
    prompts = ["one", "two"]
    every = ask(client, prompts, n=5, **options)
    best = ask(client, prompts, n=2, best_of=5, **options)

    def mean(choice: Any) -> float:
        return sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)

    expected = [
        choice.text
        for first in (0, 5)
        for choice in sorted(every.choices[first : first + 5], key=mean, reverse=True)[:2]
    ]
    assert [choice.text for choice in best.choices] == expected
    assert [choice.index for choice in best.choices] == [0, 1, 2, 3]
    assert best.usage.completion_tokens == every.usage.completion_tokens
    for wrong in ({"best_of": 1, "n": 2}, {"best_of": 3, "stream": True}, {"best_of": 21}):
        with pytest.raises(openai.BadRequestError) as error:
            ask(client, **wrong)  # type: ignore[arg-type]
        assert error.value.param == "best_of"


@pytest.mark.parametrize("stream", [False, True])
def test_token_ids_are_told(client: openai.OpenAI, stream: bool) -> None:
    ids = encode(client, "The quick")
    more = {"return_token_ids": True, "prompt_logprobs": 1, "ignore_eos": True}
    got = ask(client, max_tokens=9, n=2, stream=stream, stop="never", extra_body=more)
    choices = [c.choices[0] for c in got] if stream else got.choices
    for index in range(2):
        mine = [choice for choice in choices if choice.index == index]
        told = [token for choice in mine for token in choice.token_ids]
        assert len(told) == 9 and mine[0].prompt_token_ids == ids
        assert mine[0].prompt_logprobs[0] is None and len(mine[0].prompt_logprobs) == len(ids)
        assert not any("prompt_token_ids" in (c.model_extra or {}) for c in mine[1:])
        plain = client.post(
            str(client.base_url).removesuffix("/v1/") + "/detokenize",
            cast_to=object,
            body={"tokens": told},
        )
        assert plain["prompt"] == "".join(choice.text for choice in mine)  # type: ignore[index]


def test_tokens_as_ids(client: openai.OpenAI) -> None:
    more = {"return_tokens_as_token_ids": True, "return_token_ids": True}
    choice = ask(client, logprobs=1, max_tokens=3, extra_body=more).choices[0]
    assert choice.logprobs.tokens == [f"token_id:{token}" for token in choice.token_ids]


def test_a_prompt_is_cut_to_its_last_tokens(client: openai.OpenAI) -> None:
    ids = encode(client, "The quick brown fox jumps over the lazy dog")
    cut = ask(client, ids, extra_body={"truncate_prompt_tokens": 4})
    assert cut.usage.prompt_tokens == 4
    assert cut.choices[0].text == ask(client, ids[-4:]).choices[0].text
    long = ids * 1000
    assert ask(client, long, extra_body={"truncate_prompt_tokens": -1}).usage.completion_tokens
    with pytest.raises(openai.BadRequestError):
        ask(client, ids, extra_body={"truncate_prompt_tokens": 0})


def test_usage_in_every_chunk(client: openai.OpenAI) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = list(ask(client, stream=True, stream_options=options))
    counts = [chunk.usage.completion_tokens for chunk in chunks]
    assert counts == sorted(counts) and counts[-1] == 16 and chunks[-1].choices == []
