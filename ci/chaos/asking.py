"""One request over HTTP, and what came of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from loads import Asked

LONGEST_S = 120.0
"""A request that has not ended by then hangs."""


@dataclass(slots=True)
class Got:
    """One choice of an answer; `finish` has a reason for each time that it ended."""

    prompt: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    text: str = ""
    finish: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """What a client saw. Times are of time.monotonic().

    kind    complete, error (in the body or the stream), left (it went away itself), broken (the connection ended), hangs
    status  of the HTTP answer; 0 for none
    wrong   what is at odds with the protocol
    """

    asked: Asked
    started: float
    ended: float = 0.0
    kind: str = ""
    status: int = 0
    error: str = ""
    choices: dict[int, Got] = field(default_factory=dict)
    usage: dict[str, Any] | None = None
    wrong: list[str] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Generated tokens that arrived."""
        return sum(len(got.ids) for got in self.choices.values())


async def ask(client: httpx.AsyncClient, asked: Asked) -> Outcome:
    """Send it and wait for its end, or leave as it says."""
    outcome = Outcome(asked, time.monotonic())
    try:
        async with asyncio.timeout(asked.leave_after_s or LONGEST_S):
            await _exchange(client, outcome)
    except TimeoutError:
        outcome.kind = "left" if asked.leave_after_s else "hangs"
    except httpx.TransportError as error:
        outcome.kind, outcome.error = "broken", repr(error)
    outcome.ended = time.monotonic()
    return outcome


async def _exchange(client: httpx.AsyncClient, outcome: Outcome) -> None:
    asked = outcome.asked
    async with client.stream("POST", asked.path, json=asked.body) as answer:
        outcome.status = answer.status_code
        if answer.status_code != 200:
            outcome.kind, outcome.error = "error", (await answer.aread()).decode()
        elif asked.body.get("stream"):
            await _events(outcome, answer.aiter_lines())
        else:
            _whole(outcome, json.loads(await answer.aread()))


def _whole(outcome: Outcome, body: dict[str, Any]) -> None:
    outcome.kind, outcome.usage = "complete", body["usage"]
    for choice in body["choices"]:
        _take(outcome, choice, body)


async def _events(outcome: Outcome, lines: AsyncIterator[str]) -> None:
    """Read a stream to its end, which comes once and is the last thing."""
    chunks, done = 0, False
    async for line in lines:
        if not line:
            continue
        if done or not line.startswith("data: "):
            outcome.wrong.append(f"{line[:80]!r} is not an event that may come here")
        if line == "data: [DONE]":
            done = True
            continue
        _event(outcome, json.loads(line[6:]))
        chunks += 1
        if chunks == outcome.asked.leave_after:
            outcome.kind = "left"
            return
    if not done:
        outcome.kind, outcome.error = "broken", "the stream ended without [DONE]"
    elif outcome.kind != "error":
        outcome.kind = "complete"


def _event(outcome: Outcome, event: dict[str, Any]) -> None:
    if outcome.kind == "error":
        outcome.wrong.append("an event came after the error")
    if "error" in event:
        outcome.kind, outcome.error = "error", json.dumps(event["error"])
        return
    if event.get("usage") is not None:
        if outcome.usage is not None:
            outcome.wrong.append("usage came twice")
        outcome.usage = event["usage"]
    for choice in event["choices"]:
        _take(outcome, choice, event)


def _take(outcome: Outcome, choice: dict[str, Any], around: dict[str, Any]) -> None:
    """Add a choice, or a chunk of one. Completions tell the prompt's ids with the choice, chats around it."""
    got = outcome.choices.setdefault(choice["index"], Got())
    got.prompt = choice.get("prompt_token_ids") or around.get("prompt_token_ids") or got.prompt
    if got.finish:
        outcome.wrong.append(f"choice {choice['index']} went on after its end")
    got.ids += choice.get("token_ids") or []
    said = choice.get("delta") or choice.get("message") or choice
    got.text += said.get("content") or said.get("text") or ""
    if choice.get("finish_reason"):
        got.finish.append(choice["finish_reason"])
