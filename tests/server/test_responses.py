"""/v1/responses as OpenAI's own client sees it, and as its published types describe it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import openai
import pytest
from dovetail.server.kept import Kept
from dovetail.server.openai.responses import items, objects
from dovetail.server.openai.responses.creating import framed
from dovetail.server.openai.responses.writing import Writer
from dovetail.text.parts import CallArguments, CallEnd, CallStart, Part, Reasoning, Text
from dovetail.text.reply import Delta

from tests.waiting import Patience

from . import published

PATH = "/v1/responses"


def ask(client: openai.OpenAI, given: Any = "Hello", **options: Any) -> Any:
    options = {"model": "tiny", "max_output_tokens": 8, "extra_body": {"seed": 1}, **options}
    return client.responses.create(input=given, **options)


def test_a_whole_response(client: openai.OpenAI, server: Any) -> None:
    made = ask(client)
    assert made.status == "incomplete" and made.incomplete_details.reason == "max_output_tokens"
    assert made.usage.output_tokens == 8 and made.output_text
    chat = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Hello"}], max_tokens=8, seed=1
    )
    assert made.output_text == chat.choices[0].message.content
    assert made.usage.input_tokens == chat.usage.prompt_tokens
    published.check(server.post(PATH, {"input": "Hello", "max_output_tokens": 3})[1])


def streamed(server: Any, **body: Any) -> list[tuple[str, Any]]:
    named = {"content-type": "application/json"}
    data = json.dumps({"input": "Hello", "stream": True, "seed": 1, **body}).encode()
    status, headers, answer = server.raw("POST", PATH, data, named)
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    pairs = [event.split("\n") for event in answer.decode().split("\n\n")[:-1]]
    return [(a.removeprefix("event: "), json.loads(b.removeprefix("data: "))) for a, b in pairs]


def test_events_come_in_the_documented_order(server: Any) -> None:
    found = streamed(server, max_output_tokens=30, include=["message.output_text.logprobs"])
    names = [name for name, _ in found]
    assert names[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert names[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert set(names[4:-4]) == {"response.output_text.delta"}
    assert [data["sequence_number"] for _, data in found] == list(range(len(found)))
    for name, data in found:
        assert data["type"] == name
        published.check(data, published.EVENT)
    text = "".join(data["delta"] for name, data in found if name.endswith("text.delta"))
    final = found[-1][1]["response"]["output"][0]["content"][0]
    assert final["text"] == text == found[-4][1]["text"]
    assert len(final["logprobs"]) == 30
    ids = {data["item_id"] for _, data in found if "item_id" in data}
    assert ids == {found[-1][1]["response"]["output"][0]["id"]}


def test_streamed_and_whole_say_the_same(client: openai.OpenAI) -> None:
    with client.responses.stream(
        model="tiny", input="Hello", max_output_tokens=20, extra_body={"seed": 1}
    ) as stream:
        final = list(stream)[-1]
    assert final.type == "response.incomplete"
    assert final.response.output_text == ask(client, max_output_tokens=20).output_text


def test_a_conversation_goes_on(client: openai.OpenAI) -> None:
    first = ask(client, "My name is Ada.")
    second = ask(client, "What is my name?", previous_response_id=first.id, instructions="Short.")
    said = [
        {"role": "system", "content": "Short."},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "What is my name?"},
    ]
    chat: Any = client.chat.completions.create(
        model="tiny",
        messages=said,
        max_tokens=8,
        seed=1,  # type: ignore[arg-type]
    )
    assert second.output_text == chat.choices[0].message.content
    by_hand = [*said[1:2], first.output[0].model_dump(exclude_none=True), said[3]]
    assert ask(client, by_hand, instructions="Short.").output_text == second.output_text
    third = ask(client, "And now?", previous_response_id=second.id)
    assert third.usage.input_tokens > second.usage.input_tokens


def test_responses_are_kept_listed_and_deleted(client: openai.OpenAI) -> None:
    made = ask(client, [{"role": "user", "content": str(i)} for i in range(5)])
    again = client.responses.retrieve(made.id)
    assert again.output_text == made.output_text
    found = client.responses.input_items.list(made.id, limit=2, order="asc")
    texts = [item.content[0].text for item in found]  # type: ignore[union-attr]
    assert texts == ["0", "1", "2", "3", "4"]  # the client has turned the pages
    client.responses.delete(made.id)
    for call in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    with pytest.raises(openai.NotFoundError) as error:
        ask(client, previous_response_id=made.id)
    assert error.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(ask(client, store=False).id)


def test_a_background_response_is_polled_and_cancelled(client: openai.OpenAI) -> None:
    made = ask(client, background=True)
    assert made.status == "in_progress" and made.output == []
    patience = Patience("the response has ended")
    while made.status == "in_progress":
        patience.look()
        made = client.responses.retrieve(made.id)
    assert made.status == "incomplete" and made.output_text == ask(client).output_text
    assert client.responses.cancel(made.id).status == "incomplete"
    endless = ask(client, background=True, max_output_tokens=4000, extra_body={"ignore_eos": True})
    ended = client.responses.cancel(endless.id)
    assert ended.status in ("cancelled", "incomplete")
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(ask(client).id)


def test_auto_truncation_drops_the_oldest(client: openai.OpenAI) -> None:
    long = [{"role": "user", "content": "word " * 900} for _ in range(8)]
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, long)
    assert error.value.code == "context_length_exceeded" and error.value.param == "input"
    made = ask(client, [*long, {"role": "user", "content": "end"}], truncation="auto")
    assert made.usage.output_tokens == 8


def test_a_response_keeps_to_a_schema(client: openai.OpenAI, server: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    schema["additionalProperties"] = False
    form = {"type": "json_schema", "name": "one", "schema": schema, "strict": True}
    made = ask(client, max_output_tokens=60, text={"format": form})
    assert json.loads(made.output_text)["a"] in (1, 2) and made.text.format.name == "one"
    form["schema"] = {"type": "nothing"}
    status, answer = server.post(PATH, {"input": "x", "text": {"format": form}})
    assert status == 400 and answer["error"]["param"].startswith("text.format")


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"background": True, "stream": True}, "stream"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
        ({"tool_choice": {"type": "web_search"}, "tools": []}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].type",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    server: Any, options: dict[str, Any], param: str
) -> None:
    status, answer = server.post(PATH, {"input": "x", **options})
    assert status == 400 and answer["error"]["code"] == "unsupported_parameter"
    assert answer["error"]["param"] == param


@pytest.mark.parametrize(
    "options",
    [
        {"input": ""},
        {"input": []},
        {"input": [{"role": "nobody", "content": "x"}]},
        {"input": [{"role": "user"}]},
        {"input": [{"type": "function_call", "name": "f"}]},
        {"input": 3},
        {"max_output_tokens": 0},
        {"truncation": "some"},
        {"top_logprobs": 3},
        {"top_logprobs": 30, "include": ["message.output_text.logprobs"]},
        {"metadata": {"a": 1}},
        {"metadata": {"a" * 65: "b"}},
        {"service_tier": "best"},
        {"background": True, "store": False},
        {"stream_options": {}},
        {"temperature": -1},
        {"previous_response_id": "\x00" * 1000},
    ],
)
def test_what_is_wrong_is_refused(server: Any, options: dict[str, Any]) -> None:
    status, answer = server.post(PATH, {"input": "x", **options})
    assert status in (400, 404) and answer["error"]["message"]


def written(*parts: Sequence[Part]) -> tuple[list[Any], list[objects.OutputItem]]:
    """The events and the items that deltas make, each of some parts."""
    found: list[Any] = []
    tokenizer: Any = None
    writer = Writer(
        tokenizer, lambda event: found.append(json.loads(framed(event).split(b"\ndata: ")[1]))
    )
    for each in parts:
        writer.feed(Delta(parts=each))
    writer.close("completed")
    return found, writer.items


def test_reasoning_text_and_calls_become_items() -> None:
    found, made = written(
        [Reasoning("hm")],
        [Reasoning("m"), Text("I "), Text("look.")],
        [CallStart(0, "call_1", "add"), CallArguments(0, '{"a"')],
        [CallArguments(0, ": 1}"), CallEnd(0), CallStart(1, "call_2", "mul"), CallEnd(1)],
    )
    assert [type(item).__name__ for item in made] == [
        "Reasoning",
        "OutputMessage",
        "FunctionCall",
        "FunctionCall",
    ]
    for event in found:
        published.check(event, published.EVENT)
    assert [event["type"] for event in found if event.get("output_index") == 0] == [
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]
    call = made[2]
    assert isinstance(call, objects.FunctionCall) and call.arguments == '{"a": 1}'
    joined = "".join(e["delta"] for e in found if e["type"].endswith("arguments.delta"))
    assert joined == call.arguments
    again = items.messages(items.kept(made), None)
    assert len(again) == 1 and again[0]["content"] == "I look."
    assert again[0]["reasoning_content"] == "hmm" and len(again[0]["tool_calls"]) == 2


def test_a_reply_that_says_nothing_is_an_empty_message() -> None:
    made = written([])[1]
    assert isinstance(made[0], objects.OutputMessage) and made[0].content[0].text == ""


def test_what_is_kept_is_bounded_and_belongs_to_its_owner() -> None:
    now = [0.0]
    kept: Kept[str] = Kept(max_count=3, max_bytes=100, max_age_s=10, clock=lambda: now[0])
    for name in "abc":
        kept.put("me", name, name, 10)
    assert kept.get("me", "a") == "a" and kept.get("you", "a") is None
    kept.put("me", "d", "d", 10)  # b was used longest ago
    assert kept.get("me", "b") is None and kept.get("me", "a") == "a"
    kept.put("me", "large", "large", 95)
    assert len(kept) == 1 and kept.num_bytes == 95
    kept.put("me", "huge", "huge", 101)
    assert len(kept) == 0 and kept.num_bytes == 0
    kept.put("me", "e", "e", 1)
    now[0] = 11
    assert kept.get("me", "e") is None and kept.num_bytes == 0
