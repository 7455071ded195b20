"""Completions as llama-server writes them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from dovetail.request import FinishReason
from dovetail.server.generation import Choice, Generation, Usage
from dovetail.server.sse import encode
from dovetail.text.reply import Delta


class Answer:
    """Writes the answer to one request.

    tokens  give out token ids too
    """

    def __init__(self, model: str, *, tokens: bool) -> None:
        self._model, self._tokens = model, tokens
        self._begun = time.perf_counter()
        self._first: float | None = None

    async def whole(self, generation: Generation) -> Response:
        """One JSON object."""
        choice, text, last = generation.choices[0], "", Delta()
        try:
            async for _, delta in generation.events():
                self._note()
                text += delta.text
                last = delta
        finally:
            generation.close()
        if generation.gone:
            return Response(status_code=499)  # nobody reads it
        ids = choice.tokens if self._tokens else []
        fields = self._end(choice, last, generation.usage()) | {"content": text, "tokens": ids}
        return Response(encode(fields), media_type="application/json")

    async def stream(self, generation: Generation) -> AsyncIterator[bytes]:
        """One event per piece, and one that stops."""
        known = 0
        async for choice, delta in generation.events():
            self._note()
            if delta.text:
                ids = choice.tokens[known:] if self._tokens else []
                known = len(choice.tokens)
                piece = {"index": 0, "content": delta.text, "tokens": ids, "stop": False}
                yield _event(piece | self._counts(generation.usage()))
            if delta.finish is not None:
                yield _event(self._end(choice, delta, generation.usage()))

    def _note(self) -> None:
        if self._first is None:
            self._first = time.perf_counter()

    def _counts(self, usage: Usage) -> dict[str, Any]:
        return {"tokens_predicted": usage.generated, "tokens_evaluated": usage.prompt}

    def _end(self, choice: Choice, last: Delta, usage: Usage) -> dict[str, Any]:
        word = last.stopped if isinstance(last.stopped, str) else ""
        limit = last.finish is FinishReason.LENGTH
        return {
            "index": 0,
            "content": "",
            "tokens": [],
            "stop": True,
            "model": self._model,
            **self._counts(usage),
            "tokens_cached": usage.cached,
            "truncated": False,
            "stop_type": "limit" if limit else "word" if word else "eos",
            "stopping_word": word,
            "timings": self._timings(usage),
        }

    def _timings(self, usage: Usage) -> dict[str, Any]:
        end = time.perf_counter()
        first = self._first or end
        return {
            **_timing("prompt", usage.prompt - usage.cached, first - self._begun),
            **_timing("predicted", usage.generated, end - first),
        }


def _timing(kind: str, count: int, seconds: float) -> dict[str, Any]:
    return {
        f"{kind}_n": count,
        f"{kind}_ms": seconds * 1e3,
        f"{kind}_per_token_ms": seconds * 1e3 / max(count, 1),
        f"{kind}_per_second": count / seconds if seconds > 0 else 0.0,
    }


def _event(fields: dict[str, Any]) -> bytes:
    return b"data: " + encode(fields) + b"\n\n"
