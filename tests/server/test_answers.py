"""Answers written from deltas: tool calls, which the null platform does not write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from dovetail.request import FinishReason
from dovetail.server.generation import Usage
from dovetail.server.openai.chat import ChatAnswer
from dovetail.server.openai.schema import ChatRequest
from dovetail.text.calls.hermes import HERMES
from dovetail.text.calls.reader import Reader
from dovetail.text.parts import CallStart
from dovetail.text.reply import Delta

TEXT = 'Let me see.\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n'
TEXT += '<tool_call>\n{"name": "mul", "arguments": {"b": 2}}\n</tool_call>'


class Generation:
    """One choice whose text comes in pieces of three characters, and is taken apart."""

    gone = False

    def __init__(self, text: str, finish: FinishReason, *, parallel: bool) -> None:
        pieces = [text[i : i + 3] for i in range(0, len(text), 3)]
        parts = [Delta(piece) for piece in pieces] + [Delta("", finish=finish)]
        parser = Reader(calls=HERMES, tools={"add": {}, "mul": {}}, parallel=parallel)
        for part in parts:
            part.split(parser)
        called = any(isinstance(p, CallStart) for part in parts for p in part.spoken())
        reply = SimpleNamespace(finish=finish)
        self.choices = [
            SimpleNamespace(index=0, opened=False, parts=parts, reply=reply, called=called)
        ]

    async def events(self) -> AsyncIterator[Any]:
        for part in self.choices[0].parts:
            yield self.choices[0], part

    async def collect(self) -> bool:
        return True

    def usage(self) -> Usage:
        return Usage(0, 0, 0, 0)

    def close(self) -> None: ...


def answer() -> ChatAnswer:
    served: Any = SimpleNamespace(
        text=SimpleNamespace(tokenizer=None), engine=SimpleNamespace(info="info")
    )
    return ChatAnswer(ChatRequest(), "tiny", "chatcmpl-1", served)


def streamed(text: str, finish: FinishReason, *, parallel: bool = True) -> list[dict[str, Any]]:
    async def run() -> bytes:
        generation: Any = Generation(text, finish, parallel=parallel)
        return b"".join([event async for event in answer().stream(generation)])

    events = asyncio.run(run()).decode().split("\n\n")[:-2]
    return [json.loads(event.removeprefix("data: "))["choices"][0] for event in events]


def whole(text: str, finish: FinishReason, *, parallel: bool = True) -> dict[str, Any]:
    generation: Any = Generation(text, finish, parallel=parallel)
    response = asyncio.run(answer().whole(generation))
    choice: dict[str, Any] = json.loads(bytes(response.body))["choices"][0]
    return choice


def test_calls_in_a_whole_answer() -> None:
    choice = whole(TEXT, FinishReason.STOP)
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Let me see."
    calls = choice["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["add", "mul"]
    assert json.loads(calls[1]["function"]["arguments"]) == {"b": 2}
    assert calls[0]["type"] == "function" and calls[0]["id"] != calls[1]["id"]


def test_calls_in_a_streamed_answer() -> None:
    choices = streamed(TEXT, FinishReason.STOP)
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    assert text == "Let me see."
    deltas = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    for index, (name, arguments) in enumerate([("add", {"a": 1}), ("mul", {"b": 2})]):
        mine = [delta for delta in deltas if delta["index"] == index]
        assert [delta["id"] for delta in mine if "id" in delta] == [mine[0]["id"]]
        names = [delta["function"].get("name") for delta in mine]
        assert names == [name] + [None] * (len(mine) - 1)
        joined = "".join(delta["function"]["arguments"] for delta in mine)
        assert json.loads(joined) == arguments
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["tool_calls"]


def test_only_one_call_where_only_one_is_wanted() -> None:
    assert len(whole(TEXT, FinishReason.STOP, parallel=False)["message"]["tool_calls"]) == 1


def test_text_where_tools_might_have_been_called() -> None:
    choice = whole("Just text. <tool", FinishReason.STOP)
    assert choice["message"]["content"] == "Just text. <tool"
    assert choice["finish_reason"] == "stop" and "tool_calls" not in choice["message"]


def test_a_call_cut_off_by_the_limit_stays_text() -> None:
    choice = whole(TEXT[:40], FinishReason.LENGTH)
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == TEXT[:40]
