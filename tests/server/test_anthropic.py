"""/v1/messages on the wire: blocks, the order of events, reasons, counts, errors in Anthropic's form."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from dovetail.server.anthropic.answer import Events, blocks_of
from dovetail.server.anthropic.conversation import plain_messages
from dovetail.server.anthropic.schema import MessagesRequest
from dovetail.text.parts import CallArguments, CallEnd, CallStart, Part, Reasoning, Text

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
ADD: Any = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}


def ask(server: Any, **fields: Any) -> tuple[int, Any]:
    body = {"model": "tiny", "max_tokens": 8, "messages": MESSAGES, "temperature": 0, **fields}
    status, answer = server.post("/v1/messages", body)
    return status, answer


def events(server: Any, **fields: Any) -> list[tuple[str, Any]]:
    """Names and data of a streamed answer's events."""
    body = {"model": "tiny", "max_tokens": 8, "messages": MESSAGES, "temperature": 0, **fields}
    data = json.dumps({**body, "stream": True}).encode()
    named = {"content-type": "application/json"}
    status, headers, answer = server.raw("POST", "/v1/messages", data, named)
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    found = []
    for event in answer.decode().split("\n\n")[:-1]:
        name, content = event.split("\n")
        found.append((name.removeprefix("event: "), json.loads(content.removeprefix("data: "))))
    assert all(name == content["type"] for name, content in found)
    return found


def text_of(message: Any) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def length_of(server: Any, **fields: Any) -> int:
    """Tokens of the prompt, counted before and after."""
    usage = ask(server, **fields)[1]["usage"]
    count: int = usage["input_tokens"] + usage["cache_read_input_tokens"]
    status, answer = server.post("/v1/messages/count_tokens", {"messages": MESSAGES, **fields})
    assert status == 200 and answer == {"input_tokens": count}
    return count


def test_a_whole_message(server: Any) -> None:
    status, message = ask(server)
    assert status == 200 and message["id"].startswith("msg")
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", "tiny")
    assert message["stop_reason"] == "max_tokens" and message["stop_sequence"] is None
    assert [block["type"] for block in message["content"]] == ["text"]
    usage = message["usage"]
    assert usage["output_tokens"] == 8 and usage["cache_creation_input_tokens"] == 0
    again = ask(server)[1]["usage"]
    assert again["cache_read_input_tokens"] > 0
    sums = [u["input_tokens"] + u["cache_read_input_tokens"] for u in (usage, again)]
    assert sums[0] == sums[1]


def test_events_come_in_the_documented_order(server: Any) -> None:
    whole = ask(server, max_tokens=32)[1]
    found = events(server, max_tokens=32)
    names = [name for name, _ in found]
    deltas = len(names) - 6
    assert names == [
        "message_start",
        "ping",
        "content_block_start",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start = found[0][1]["message"]
    assert start["content"] == [] and start["stop_reason"] is None
    assert "stop_sequence" in start and start["stop_sequence"] is None
    assert start["usage"]["input_tokens"] + start["usage"]["cache_read_input_tokens"] > 0
    pieces = [content["delta"] for name, content in found if name == "content_block_delta"]
    assert {piece["type"] for piece in pieces} == {"text_delta"}
    assert "".join(piece["text"] for piece in pieces) == text_of(whole)
    end = found[-2][1]
    assert end["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert end["usage"]["output_tokens"] == 32 == whole["usage"]["output_tokens"]


def test_a_stop_sequence_is_named(server: Any) -> None:
    text = text_of(ask(server, max_tokens=64)[1])
    stop = text[9:12]
    message = ask(server, max_tokens=64, stop_sequences=["never seen", stop])[1]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", stop)
    assert text_of(message) == text[: text.index(stop)]
    end = events(server, max_tokens=64, stop_sequences=[stop])[-2][1]
    assert end["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": stop}


def test_the_context_may_end_before_max_tokens(server: Any) -> None:
    message = ask(server, max_tokens=1_000_000)[1]
    if message["stop_reason"] != "end_turn":
        assert message["stop_reason"] == "model_context_window_exceeded"
    usage = message["usage"]
    total = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["output_tokens"]
    assert total <= 4096


def test_no_tokens_fill_the_cache_alone(server: Any) -> None:
    message = ask(server, max_tokens=0)[1]
    assert message["content"] == [] and message["usage"]["output_tokens"] == 0
    assert message["stop_reason"] == "max_tokens"


def test_a_reply_goes_on_with_the_last_turn(server: Any) -> None:
    begun = [*MESSAGES, {"role": "assistant", "content": "The best answer is ("}]
    assert length_of(server, messages=begun) > length_of(server)
    status, answer = ask(server, messages=[*MESSAGES, {"role": "assistant", "content": "So "}])
    assert status == 400 and "white space" in answer["error"]["message"]


def test_blocks_of_every_kind(server: Any) -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "joined to it"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Add them.", "signature": "x"},
                {"type": "redacted_thinking", "data": "abc"},
                {"type": "text", "text": "Let me see.", "cache_control": {"type": "ephemeral"}},
                {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
                {"type": "tool_use", "id": "t2", "name": "add", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "3"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "is_error": True,
                    "content": [{"type": "text", "text": "overflow"}],
                },
                {"type": "text", "text": "Well?"},
            ],
        },
    ]
    system = [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]
    asked = {"messages": messages, "system": system, "tools": [ADD], "max_tokens": 8}
    assert ask(server, **asked)[0] == 200
    calls = [
        {"id": key, "type": "function", "function": {"name": "add", "arguments": arguments}}
        for key, arguments in (("t1", {"a": 1}), ("t2", {}))
    ]
    assert plain_messages(msgspec.convert(asked, MessagesRequest)) == [
        {"role": "system", "content": "Be brief.\nBe kind."},
        {"role": "user", "content": "a\nb\njoined to it"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": calls,
            "reasoning_content": "Add them.",
        },
        {"role": "tool", "tool_call_id": "t1", "name": "add", "content": "3"},
        {"role": "tool", "tool_call_id": "t2", "name": "add", "content": "Error: overflow"},
        {"role": "user", "content": "Well?"},
    ]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"temperature": 3}, "temperature"),
    ({"top_k": -5}, "top_k"),
    ({"stop_sequences": [""]}, "stop"),
    ({"stop_sequences": ["x"] * 17}, "stop"),
    ({"container": "c"}, "container"),
    ({"mcp_servers": [{}]}, "mcp_servers"),
    ({"speed": "fast"}, "speed"),
    ({"output_config": {"effort": "extreme"}}, "output_config.effort"),
    ({"output_config": {"effort": "max"}}, "effort"),
    ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "budget_tokens"),
    ({"thinking": {"type": "enabled"}}, "budget_tokens"),
    ({"thinking": {"type": "between_tools"}}, "thinking.type"),
    ({"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0]"),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
        "tool_use_id",
    ),
    ({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"name": "add"}]}, "tools[0].input_schema"),
    ({"tools": [{**ADD, "defer_loading": True}]}, "defer_loading"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ({"tools": [ADD], "tool_choice": {"type": "tool", "name": "sub"}}, "tool_choice.name"),
    ({"metadata": {"user_id": "x" * 600}}, "metadata.user_id"),
]


@pytest.mark.parametrize("fields, named", REFUSED, ids=[named for _, named in REFUSED])
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_refused_is_named(
    server: Any, fields: dict[str, Any], named: str, stream: bool
) -> None:
    status, answer = ask(server, **fields, stream=stream)
    assert status == 400 and answer["type"] == "error"
    assert answer["error"]["type"] == "invalid_request_error"
    assert named in answer["error"]["message"]


def test_errors_have_anthropics_form(server: Any, locked: Any) -> None:
    status, answer = ask(server, model="claude")
    assert status == 404 and answer["error"]["type"] == "not_found_error"
    status, answer = server.post("/v1/messages", b"{")
    assert status == 400 and answer["error"]["type"] == "invalid_request_error"
    status, answer = ask(locked)
    assert status == 401 and answer["error"]["type"] == "authentication_error"
    body = {"messages": MESSAGES, "max_tokens": 1}
    assert locked.post("/v1/messages", body, x_api_key="secret-key")[0] == 200
    assert locked.post("/v1/messages", body, x_api_key="secret")[0] == 401
    named = {"x-api-key": "secret-key", "content-type": "application/json"}
    _, headers, _ = locked.raw("POST", "/v1/messages", json.dumps(body).encode(), named)
    assert headers["request-id"] == headers["x-request-id"]


def test_a_model_without_a_template_cannot_talk(long: Any) -> None:
    status, answer = long.post("/v1/messages", {"messages": MESSAGES, "max_tokens": 2})
    assert status == 400 and "chat template" in answer["error"]["message"]


SPOKEN: list[Part] = [
    Reasoning("First "),
    Reasoning("add."),
    Text("Let me "),
    Text("see."),
    CallStart(0, "call_1", "add"),
    CallArguments(0, '{"a":'),
    CallArguments(0, " 1}"),
    CallEnd(0),
    CallStart(1, "call_2", "now"),
    CallArguments(1, "{}"),
    CallEnd(1),
]


def accumulated(data: bytes) -> list[dict[str, Any]]:
    """Blocks as a client puts them together from events."""
    blocks: list[dict[str, Any]] = []
    texts: list[str] = []
    for event in data.decode().split("\n\n")[:-1]:
        content = json.loads(event.split("data: ")[1])
        if content["type"] == "content_block_start":
            assert content["index"] == len(blocks)
            blocks.append(content["content_block"])
            texts.append("")
        elif content["type"] == "content_block_delta":
            assert content["index"] == len(blocks) - 1
            block, delta = blocks[-1], content["delta"]
            if delta["type"] == "signature_delta":
                block["signature"] = delta["signature"]
            elif delta["type"] == "input_json_delta":
                texts[-1] += delta["partial_json"]
                block["input"] = json.loads(texts[-1]) if texts[-1].endswith("}") else {}
            else:
                kind = delta["type"].removesuffix("_delta")
                block[kind] += delta[kind]
        else:
            assert content == {"type": "content_block_stop", "index": len(blocks) - 1}
    return blocks


@pytest.mark.parametrize("omitted", [False, True])
def test_streamed_and_whole_blocks_are_the_same(omitted: bool) -> None:
    events = Events(omit_thinking=omitted)
    streamed = accumulated(b"".join(events.write([part]) for part in SPOKEN) + events.close())
    whole = blocks_of(SPOKEN, omit_thinking=omitted)
    assert streamed == whole
    assert [block["type"] for block in whole] == ["thinking", "text", "tool_use", "tool_use"]
    assert whole[0]["thinking"] == ("" if omitted else "First add.") and whole[0]["signature"]
    assert whole[2]["input"] == {"a": 1}
