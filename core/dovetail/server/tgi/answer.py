"""Replies as TGI writes them: tokens one by one, with their log-probabilities."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.responses import Response

from dovetail.request import FinishReason
from dovetail.server.generation import Choice, Generation
from dovetail.server.openai.logprobs import finite
from dovetail.server.sse import encode
from dovetail.text.model import TextModel
from dovetail.text.reply import Delta, Scored

from .schema import GenerateRequest, Parameters


class Tokens:
    """Tokens of a reply as TGI shows them; the text of each is what it added to the reply."""

    def __init__(self, text: TextModel) -> None:
        self._tokenizer = text.tokenizer
        self.text = ""

    def take(self, delta: Delta) -> list[dict[str, Any]]:
        """The tokens whose text is out."""
        self.text += delta.text
        return [self._token(item) for item in delta.scored]

    def _token(self, item: Scored) -> dict[str, Any]:
        text, special = self.text[item.start : item.end], item.token in self._tokenizer.special_ids
        if special and not text:
            text = self._tokenizer.name_of(item.token) or ""
        return self._entry(item.token, text, item.logprobs.logprob)

    def _entry(self, token: int, text: str, logprob: float) -> dict[str, Any]:
        special = token in self._tokenizer.special_ids
        return {"id": token, "text": text, "logprob": finite(logprob), "special": special}

    def tops(self, scored: Sequence[Scored]) -> list[list[dict[str, Any]]]:
        """The likeliest at each token's place."""
        return [
            [
                self._entry(token, self._tokenizer.piece(token).decode(errors="replace"), value)
                for token, value in zip(
                    item.logprobs.top_ids, item.logprobs.top_logprobs, strict=True
                )
            ]
            for item in scored
        ]


def finish_reason(last: Delta) -> str:
    """length, stop_sequence or eos_token."""
    if last.finish is FinishReason.LENGTH:
        return "length"
    return "stop_sequence" if isinstance(last.stopped, str) else "eos_token"


class Answer:
    """Writes the answer to one request."""

    def __init__(self, asked: GenerateRequest, given: Parameters, text: TextModel) -> None:
        self._given, self._text = given, text
        self._before = asked.inputs if given.return_full_text else ""

    async def whole(self, generation: Generation, *, listed: bool) -> Response:
        """One JSON object, in a list of one if listed."""
        try:
            if not await generation.collect():
                return Response(status_code=499)  # nobody reads it
        finally:
            generation.close()
        best = max(generation.choices, key=_mean_logprob)
        fields: dict[str, Any] = {"generated_text": self._generated(best)}
        if self._given.details:
            fields["details"] = self._details(best)
            others = [choice for choice in generation.choices if choice is not best]
            if others:
                fields["details"]["best_of_sequences"] = [
                    {"generated_text": self._generated(other), **self._details(other)}
                    for other in others
                ]
        body = encode([fields] if listed else fields)
        return Response(body, media_type="application/json")

    def _generated(self, choice: Choice) -> str:
        return self._before + "".join(delta.text for delta in choice.parts)

    def _details(self, choice: Choice) -> dict[str, Any]:
        whole = Delta(
            "".join(delta.text for delta in choice.parts),
            [item for delta in choice.parts for item in delta.scored],
        )
        tokens = Tokens(self._text)
        fields: dict[str, Any] = {
            "finish_reason": finish_reason(choice.parts[-1]),
            "generated_tokens": choice.reply.num_tokens,
            "seed": self._given.seed,
            "prefill": self._prefill(choice),
            "tokens": tokens.take(whole),
        }
        if self._given.top_n_tokens:
            fields["top_tokens"] = tokens.tops(whole.scored)
        return fields

    def _prefill(self, choice: Choice) -> list[dict[str, Any]]:
        tokenizer = self._text.tokenizer
        return [
            {
                "id": token,
                "text": tokenizer.piece(token).decode(errors="replace"),
                "logprob": None if item is None else finite(item.logprob),
            }
            for token, item in zip(choice.prompt, choice.prompt_logprobs or (), strict=False)
        ]

    async def stream(self, generation: Generation) -> AsyncIterator[bytes]:
        """One event per token; the last one has the whole text and the reason of the end."""
        tokens, index = Tokens(self._text), 0
        async for choice, delta in generation.events():
            shown = tokens.take(delta)
            tops = tokens.tops(delta.scored)
            for i, token in enumerate(shown):
                index += 1
                event: dict[str, Any] = {"index": index, "token": token}
                if self._given.top_n_tokens:
                    event["top_tokens"] = tops[i]
                last = delta.finish is not None and i == len(shown) - 1
                event["generated_text"] = self._before + tokens.text if last else None
                event["details"] = self._end(choice, delta) if last else None
                yield b"data:" + encode(event) + b"\n\n"

    def _end(self, choice: Choice, last: Delta) -> dict[str, Any]:
        return {
            "finish_reason": finish_reason(last),
            "generated_tokens": choice.reply.num_tokens,
            "seed": self._given.seed,
            "input_length": len(choice.prompt),
        }


def _mean_logprob(choice: Choice) -> float:
    values = [item.logprobs.logprob for delta in choice.parts for item in delta.scored]
    return sum(values) / len(values) if values else 0.0
