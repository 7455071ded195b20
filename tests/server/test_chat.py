"""/v1/chat/completions as OpenAI's own client sees it."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
    }
]


def ask(client: openai.OpenAI, **options: Any) -> Any:
    options = {"model": "tiny", "messages": MESSAGES, "max_tokens": 8, "seed": 1, **options}
    return client.chat.completions.create(**options)


def test_a_whole_reply(client: openai.OpenAI) -> None:
    reply = ask(client)
    choice = reply.choices[0]
    assert reply.object == "chat.completion" and reply.model == "tiny"
    assert choice.message.role == "assistant" and choice.index == 0
    assert choice.finish_reason == "length" and choice.logprobs is None
    assert reply.usage.completion_tokens == 8
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 8


def test_streamed_and_whole_say_the_same(client: openai.OpenAI) -> None:
    whole = ask(client, max_tokens=64).choices[0].message.content
    chunks = list(ask(client, max_tokens=64, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(c.choices[0].delta.role is None for c in chunks[1:])
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["length"]
    assert chunks[-1].choices[0].finish_reason == "length"
    assert len({c.id for c in chunks}) == 1


def test_usage_comes_last_and_only_if_asked_for(client: openai.OpenAI) -> None:
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 8
    assert all("usage" in c.model_fields_set and c.usage is None for c in chunks[:-1])
    plain = list(ask(client, stream=True))
    assert all("usage" not in chunk.model_fields_set for chunk in plain)


def test_several_choices_count_the_prompt_once(client: openai.OpenAI) -> None:
    one, three = ask(client), ask(client, n=3, temperature=1.0)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert three.usage.prompt_tokens == one.usage.prompt_tokens
    assert three.usage.completion_tokens == 24
    assert three.choices[0].message.content == one.choices[0].message.content
    chunks = list(ask(client, n=3, stream=True))
    ends = [c.choices[0].index for c in chunks if c.choices[0].finish_reason]
    roles = [c.choices[0].index for c in chunks if c.choices[0].delta.role]
    assert sorted(ends) == sorted(roles) == [0, 1, 2]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("top", [None, 0, 3])
def test_logprobs(client: openai.OpenAI, stream: bool, top: int | None) -> None:
    options = {} if top is None else {"top_logprobs": top}
    got = ask(client, logprobs=True, stream=stream, **options)
    replies = list(got) if stream else [got]
    entries = [
        entry
        for reply in replies
        for choice in reply.choices
        if choice.logprobs is not None
        for entry in choice.logprobs.content
    ]
    assert len(entries) == 8
    for entry in entries:
        assert entry.logprob <= 0 and bytes(entry.bytes).decode(errors="replace") == entry.token
        values = [other.logprob for other in entry.top_logprobs]
        assert len(values) == (top or 0) and values == sorted(values, reverse=True)


def test_the_same_seed_gives_the_same_reply(client: openai.OpenAI) -> None:
    first = ask(client, seed=7).choices[0].message.content
    assert ask(client, seed=7).choices[0].message.content == first


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_reply(client: openai.OpenAI, stream: bool) -> None:
    text = ask(client, max_tokens=64).choices[0].message.content
    stop = text[9:12]
    got = ask(client, max_tokens=64, stop=[stop, "never seen"], stream=stream)
    if stream:
        chunks = list(got)
        shown = "".join(c.choices[0].delta.content or "" for c in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        shown, reason = got.choices[0].message.content, got.choices[0].finish_reason
    assert shown == text[: text.index(stop)] and reason == "stop"
    kept = ask(client, max_tokens=64, stop=stop, extra_body={"include_stop_str_in_output": True})
    assert kept.choices[0].message.content == shown + stop


@pytest.mark.parametrize("stream", [False, True])
def test_what_might_have_begun_a_stop_string_is_told_at_the_end(
    client: openai.OpenAI, stream: bool
) -> None:
    text = ask(client, max_tokens=64).choices[0].message.content
    got = ask(client, max_tokens=64, stop=[text[-3:] + "never seen"], stream=stream)
    if stream:
        assert "".join(c.choices[0].delta.content or "" for c in got) == text
    else:
        assert got.choices[0].message.content == text


def test_no_chunk_holds_half_a_character(client: openai.OpenAI) -> None:
    text = "é中😀 " * 4
    options: dict[str, Any] = {"max_tokens": 200, "extra_body": {"guided_choice": [text]}}
    reply = ask(
        client, logprobs=True, **options
    )  # so that no token is forced, and each comes by itself
    assert reply.usage.completion_tokens > len(text) and reply.choices[0].message.content == text
    chunks = ask(client, logprobs=True, stream=True, **options)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == text and not any("\ufffd" in piece for piece in pieces)


def test_stop_token_ids(client: openai.OpenAI) -> None:
    body = {"stop_token_ids": list(range(512))}
    reply = ask(client, extra_body=body)
    assert reply.choices[0].message.content == "" and reply.choices[0].finish_reason == "stop"
    assert reply.usage.completion_tokens == 1


@pytest.mark.parametrize("temperature", [0, 1])
def test_no_other_ids_than_those_allowed(client: openai.OpenAI, temperature: float) -> None:
    allowed = [40, 41, 300]
    body = {"allowed_token_ids": allowed, "return_token_ids": True}
    reply = ask(client, n=2, max_tokens=30, temperature=temperature, extra_body=body)
    for choice in reply.choices:
        assert len(choice.token_ids) == 30 and set(choice.token_ids) <= set(allowed)
    ending = {"allowed_token_ids": [2], "return_token_ids": True}  # the end of a turn
    assert ask(client, extra_body=ending).choices[0].finish_reason == "stop"
    for wrong in (
        {"allowed_token_ids": [512]},
        {"allowed_token_ids": [-1]},
        {"allowed_token_ids": [1], "guided_regex": "a"},
        {"allowed_token_ids": [2], "min_tokens": 2},
        {"allowed_token_ids": [5] * 20_000},
    ):
        with pytest.raises(openai.BadRequestError, match="allowed_token_ids"):
            ask(client, extra_body=wrong)


def test_bad_words_are_not_written(client: openai.OpenAI, server: Any) -> None:
    """The tokens of one do not follow each other; that they would is seen without it."""
    ids = server.served.text.tokenizer.encode("naïve", add_special_tokens=False)
    assert len(set(ids)) > 1

    def written(**more: Any) -> bool:
        body = {"allowed_token_ids": ids, "return_token_ids": True, **more}
        got = ask(client, max_tokens=1500, temperature=1, extra_body=body).choices[0].token_ids
        return any(got[at : at + len(ids)] == ids for at in range(len(got)))

    assert written() and not written(bad_words=["naïve"])
    (one,) = server.served.text.tokenizer.encode("a", add_special_tokens=False)
    body = {"allowed_token_ids": [one, 41], "bad_words": ["a"], "return_token_ids": True}
    assert set(ask(client, extra_body=body).choices[0].token_ids) == {41}
    for wrong in ({"bad_words": [""]}, {"bad_words": ["x" * 101]}, {"bad_words": ["x"] * 65}):
        with pytest.raises(openai.BadRequestError, match="bad_words"):
            ask(client, extra_body=wrong)
    with pytest.raises(openai.BadRequestError, match="bad_words"):
        ask(client, extra_body={"bad_words": ["x"], "guided_regex": "a"})


def test_messages_of_every_kind(client: openai.OpenAI) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "3"},
    ]
    assert ask(client, messages=messages).choices[0].finish_reason == "length"


def test_null_optionals_and_unknown_fields_are_accepted(client: openai.OpenAI) -> None:
    names = ("temperature", "top_p", "n", "stop", "logit_bias", "tools", "response_format", "seed")
    body = {**dict.fromkeys(names), "brand_new_field": {"a": [1]}}
    more = {"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto"}
    more |= {"reasoning_effort": "none"}
    assert ask(client, extra_body=body | more).choices[0].finish_reason in ("length", "stop")


def test_max_completion_tokens(client: openai.OpenAI) -> None:
    reply = ask(client, max_tokens=openai.omit, max_completion_tokens=3)
    assert reply.usage.completion_tokens == 3


def test_the_rest_of_the_context_is_the_default(client: openai.OpenAI) -> None:
    reply = ask(client, max_tokens=openai.omit, extra_body={"ignore_eos": True})
    assert reply.usage.total_tokens == 4096


def test_cached_tokens_are_told(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": "tell me of caches " * 40}]
    ask(client, messages=messages)
    usage = ask(client, messages=messages).usage
    assert usage.prompt_tokens_details.cached_tokens >= usage.prompt_tokens // 2


def test_tools_are_accepted_where_the_template_takes_them(client: openai.OpenAI) -> None:
    reply = ask(client, tools=TOOLS, tool_choice="auto", parallel_tool_calls=False)
    without = ask(client, tools=TOOLS, tool_choice="none")
    assert reply.usage.prompt_tokens > without.usage.prompt_tokens
    assert without.choices[0].message.tool_calls is None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_a_call_can_be_forced(client: openai.OpenAI, stream: bool, named: bool) -> None:
    schema: Any = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    schema["additionalProperties"] = False
    tools: Any = [
        {"type": "function", "function": {"name": name, "parameters": schema}}
        for name in ("add", "mul")
    ]
    choice = {"type": "function", "function": {"name": "mul"}} if named else "required"
    options: Any = {"tools": tools, "tool_choice": choice, "parallel_tool_calls": False}
    got = ask(client, max_tokens=200, stream=stream, **options)
    if stream:
        chunks = [chunk.choices[0] for chunk in got]
        deltas = [call for c in chunks for call in c.delta.tool_calls or ()]
        name = [d.function.name for d in deltas if d.function.name]
        arguments = "".join(d.function.arguments or "" for d in deltas)
        finish = chunks[-1].finish_reason
    else:
        calls = got.choices[0].message.tool_calls
        name, arguments = [call.function.name for call in calls], calls[0].function.arguments
        finish = got.choices[0].finish_reason
    assert finish == "tool_calls" and len(name) == 1
    assert json.loads(arguments)["a"] in (1, 2) and (name == ["mul"] or not named)
    with pytest.raises(openai.BadRequestError, match="not one of tools"):
        ask(client, tools=tools, tool_choice={"type": "function", "function": {"name": "x"}})


@pytest.mark.defends(
    "templates from clients",
    "arguments of templates are let through only if they are known",
    without=("dovetail.server.ask", "if name not in TEMPLATE_VARIABLES:", "if False:"),
)
@pytest.mark.defends(
    "templates from clients",
    "a template in a request is refused",
    without=("dovetail.server.openai.asking", '    "chat_template": (),\n', ""),
)
@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"store": True}, "store"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"extra_body": {"best_of": 2}}, "best_of"),
        ({"extra_body": {"chat_template": "{{ 1 }}"}}, "chat_template"),
        ({"extra_body": {"chat_template_kwargs": {"evil": 1}}}, "chat_template_kwargs"),
        ({"extra_body": {"documents": [{"text": "x"}]}}, "documents"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].type",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: openai.OpenAI, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, **options)
    assert error.value.param == param
    assert error.value.code == "unsupported_parameter"


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny, alias") as error:
        ask(client, model="gpt-4")
    assert error.value.code == "model_not_found"
    assert ask(client, model="alias").model == "alias"


def test_a_prompt_that_is_too_long_tells_the_numbers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="4096") as error:
        ask(client, messages=[{"role": "user", "content": "a b c d " * 4000}])
    assert error.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="5000") as error:
        ask(client, max_tokens=5000, stream=True)
    assert error.value.code == "context_length_exceeded"


def test_events_are_written_as_openai_writes_them(server: Any) -> None:
    body = {"messages": MESSAGES, "max_tokens": 4, "stream": True}
    named = {"content-type": "application/json"}
    status, headers, data = server.raw(
        "POST", "/v1/chat/completions", json.dumps(body).encode(), named
    )
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    events = data.decode().split("\n\n")
    assert events[-1] == "" and events[-2] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1]["choices"][0]["delta"] == {}
    for chunk in chunks:
        assert list(chunk) == ["id", "object", "created", "model", "choices"]
        assert list(chunk["choices"][0]) == ["index", "delta", "logprobs", "finish_reason"]


def test_tier_and_fingerprint(client: openai.OpenAI) -> None:
    one, two = ask(client, service_tier="auto"), ask(client)
    assert one.service_tier == "default" and two.service_tier is None
    assert one.system_fingerprint == two.system_fingerprint and one.system_fingerprint
    chunks = list(ask(client, service_tier="flex", stream=True))
    assert {chunk.service_tier for chunk in chunks} == {"default"}
    with pytest.raises(openai.BadRequestError, match="service_tier"):
        ask(client, service_tier="best")


@pytest.mark.parametrize("stream", [False, True])
def test_vllms_additions(client: openai.OpenAI, stream: bool) -> None:
    more = {"return_token_ids": True, "prompt_logprobs": 0, "truncate_prompt_tokens": 5}
    options: Any = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    got = ask(client, extra_body=more, stream=stream, **(options if stream else {}))
    replies = list(got) if stream else [got]
    assert len(replies[0].prompt_token_ids) == len(replies[0].prompt_logprobs) == 5
    told = [token for r in replies for c in r.choices for token in c.token_ids]
    assert len(told) == 8 and replies[-1].usage.completion_tokens == 8
    counts = [reply.usage.completion_tokens for reply in replies]
    assert counts == sorted(counts) and replies[-1].usage.prompt_tokens == 5
