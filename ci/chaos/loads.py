"""Requests, drawn from a seed: every kind that takes another way through the server."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

SCHEMA = {
    "type": "object",
    "properties": {"fits": {"type": "boolean"}, "wood": {"enum": ["oak", "ash", "elm"]}},
    "required": ["fits", "wood"],
    "additionalProperties": False,
}
WORDS = (
    "oak",
    "ash",
    "elm",
    "joint",
    "plane",
    "saw",
    "glue",
    "wedge",
    "mortise",
    "tenon",
    "grain",
    "board",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    leave_after    chunks of a stream after which its client goes away
    leave_after_s  seconds after which it does, stream or not
    structured     the reply is JSON that SCHEMA allows
    """

    path: str
    body: dict[str, Any]
    leave_after: int | None = None
    leave_after_s: float | None = None
    structured: bool = False

    @property
    def choices(self) -> int:
        """Replies that are due."""
        prompts = self.body.get("prompt")
        many = len(prompts) if isinstance(prompts, list) and isinstance(prompts[0], list) else 1
        return many * int(self.body.get("n", 1))


@dataclass(slots=True)
class Loads:
    """Draws requests; prompts begin alike, so that prefixes are shared, evicted and restored.

    longest  tokens of a prompt
    """

    rng: random.Random
    vocab_size: int
    longest: int = 360
    leaving: float = 0.15
    _bases: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._bases = [
            [self.rng.randrange(self.vocab_size - 16) for _ in range(self.longest)]
            for _ in range(6)
        ]

    def draw(self) -> Asked:
        """The next request."""
        rng = self.rng
        body: dict[str, Any] = {"return_token_ids": True, "max_tokens": rng.randint(1, 48)}
        kind = rng.choice(["ids", "ids", "ids", "choices", "lists", "text", "chat", "structured"])
        path = "/v1/chat/completions" if kind in ("chat", "structured") else "/v1/completions"
        if rng.random() < 0.3:
            body |= {"temperature": 0.8, "seed": rng.randrange(1 << 40)}
        else:
            body["temperature"] = 0.0
        body["ignore_eos"] = rng.random() < 0.5
        if kind == "chat":
            body["messages"] = [{"role": "user", "content": self._text()}]
        elif kind == "structured":
            body["messages"] = [{"role": "user", "content": self._text()}]
            format_ = {"type": "json_schema", "json_schema": {"name": "wood", "schema": SCHEMA}}
            body |= {"response_format": format_, "max_tokens": 120, "ignore_eos": False}
        elif kind == "text":
            body["prompt"] = self._text()
        elif kind == "lists":
            body["prompt"] = [self._ids() for _ in range(rng.randint(2, 3))]
        else:
            body["prompt"] = self._ids()
        if kind == "choices":
            body["n"] = rng.randint(2, 4)
        if rng.random() < 0.2:
            body["cache_salt"] = rng.choice("ab")
        return self._leaving(path, body, structured=kind == "structured")

    def _leaving(self, path: str, body: dict[str, Any], *, structured: bool) -> Asked:
        rng = self.rng
        stream = rng.random() < 0.6
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        leaves = rng.random() < self.leaving
        after_s = rng.random() * 0.2 if leaves and (not stream or rng.random() < 0.5) else None
        after = rng.randint(1, 12) if leaves and after_s is None else None
        return Asked(path, body, after, after_s, structured)

    def _ids(self) -> list[int]:
        base = self.rng.choice(self._bases)
        start = base[: self.rng.randint(1, self.longest - 8)]
        return start + [
            self.rng.randrange(self.vocab_size - 16) for _ in range(self.rng.randint(0, 8))
        ]

    def _text(self) -> str:
        return " ".join(self.rng.choice(WORDS) for _ in range(self.rng.randint(1, 40)))
