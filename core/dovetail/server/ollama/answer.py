"""Replies as Ollama writes them: one JSON object, or one per line, the last with the reason of the end and what it took."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dovetail.text.parts import Call, CallArguments, CallEnd, CallStart, Part, Reasoning, Text


def now() -> str:
    """The time as Go writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@dataclass(slots=True)
class Clock:
    """When things happened, in nanoseconds of one clock.

    asked  the body was read
    begun  the request went to the engine
    first  its first token came
    """

    asked: int = field(default_factory=time.perf_counter_ns)
    begun: int = 0
    first: int = 0

    def token(self) -> None:
        """Called for whatever comes from the engine."""
        self.first = self.first or time.perf_counter_ns()

    def durations(self, *, prompt_tokens: int, tokens: int) -> dict[str, int]:
        """The fields of the last object."""
        end = time.perf_counter_ns()
        begun = self.begun or end
        first = self.first or end
        return {
            "total_duration": end - self.asked,
            "load_duration": begun - self.asked,
            "prompt_eval_count": prompt_tokens,
            "prompt_eval_duration": first - begun,
            "eval_count": tokens,
            "eval_duration": end - first,
        }


@dataclass(slots=True)
class Said:
    """What parts of a reply say, as the fields of a message."""

    text: str = ""
    thinking: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)

    def add(self, more: Said) -> None:
        """Go on with what came later."""
        self.text += more.text
        self.thinking += more.thinking
        self.calls += more.calls

    def message(self) -> dict[str, Any]:
        """For /api/chat; empty fields are left out, but content."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.thinking:
            message["thinking"] = self.thinking
        if self.calls:
            message["tool_calls"] = self.calls
        return message

    def response(self) -> dict[str, Any]:
        """For /api/generate."""
        thinking = {"thinking": self.thinking} if self.thinking else {}
        return {"response": self.text, **thinking}

    def __bool__(self) -> bool:
        return bool(self.text or self.thinking or self.calls)


class Speaker:
    """Gathers parts; a call is given out once it is whole."""

    def __init__(self) -> None:
        self._call: Call | None = None
        self._num_calls = 0

    def take(self, parts: Iterable[Part]) -> Said:
        """What these parts complete."""
        said = Said()
        for part in parts:
            if isinstance(part, Text):
                said.text += part.text
            elif isinstance(part, Reasoning):
                said.thinking += part.text
            elif isinstance(part, CallStart):
                self._call = Call(part.id, part.name, "")
            elif isinstance(part, CallArguments) and self._call is not None:
                call = self._call
                self._call = Call(call.id, call.name, call.arguments + part.text)
            elif isinstance(part, CallEnd) and self._call is not None:
                said.calls.append(self._whole(self._call))
                self._call = None
        return said

    def _whole(self, call: Call) -> dict[str, Any]:
        index = self._num_calls
        self._num_calls += 1
        function = {"index": index, "name": call.name, "arguments": _object(call.arguments)}
        return {"id": call.id, "function": function}


def _object(arguments: str) -> dict[str, Any]:
    """Arguments as an object; empty for those that num_predict has cut off."""
    try:
        value = json.loads(arguments or "{}", strict=False)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def logprobs(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chat's log-probabilities in Ollama's form: without lists that were not asked for."""
    return [
        {key: value for key, value in entry.items() if key != "top_logprobs" or value}
        for entry in entries
    ]
