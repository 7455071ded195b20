"""POST /v1/completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail.errors import InvalidParameter
from dovetail.sampling import SamplingParams
from dovetail.server.generation import MAX_CHOICES, Choice, Generation
from dovetail.server.life import limit_time
from dovetail.server.limits import read_json
from dovetail.server.served import Served, fresh_id, off_loop
from dovetail.server.sse import begin, encode
from dovetail.text.model import TextModel
from dovetail.text.reply import Delta

from .asking import refuse_unsupported, sampling_of_completion, truncation_of, wants_usage
from .chunks import DONE, Chunks, fingerprint, usage_fields
from .extras import Extras
from .logprobs import LegacyLogprobs, text_offsets
from .schema import CompletionRequest

decoder = msgspec.json.Decoder(CompletionRequest)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt in tokens, and as text where it was given as text."""

    ids: list[int]
    text: str | None


async def completions(request: Request) -> Response:
    """Complete prompts, whole or streamed."""
    served: Served = request.app.state.served
    asked = await read_json(request, decoder, max_bytes=served.max_body_bytes)
    limit_time(asked.timeout)
    model = served.name(asked.model)
    refuse_unsupported(asked)
    params = sampling_of_completion(asked, served.text)
    prompts = _truncated(await _prompts(asked, served.text), asked, params, served.text)
    answer_id = fresh_id("cmpl")
    generation = await Generation.start(
        served,
        [prompt.ids for prompt in prompts],
        params,
        request_id=answer_id,
        priority=asked.priority or 0,
        salt=asked.cache_salt or "",
        clip=asked.max_tokens is None,
        continues=True,
    )
    generation.watch(request.receive)
    answer = CompletionAnswer(asked, model, answer_id, served, prompts, params.n)
    answer.extras.watch(generation)
    if asked.stream:
        return await begin(generation, answer.stream(generation))
    return await answer.whole(generation)


async def _prompts(asked: CompletionRequest, text: TextModel) -> list[Prompt]:
    """The prompts, of whichever of the four forms."""
    given = asked.prompt
    if given is None:
        raise InvalidParameter("prompt is missing", param="prompt")
    special = asked.add_special_tokens is not False
    if isinstance(given, str):
        return [await _encode(given, text, special)]
    if not given:
        raise InvalidParameter("prompt is an empty list", param="prompt")
    if all(type(item) is int for item in given):
        return [Prompt(given, None)]
    if len(given) > MAX_CHOICES:
        raise InvalidParameter(
            f"prompt holds {len(given)} prompts; at most {MAX_CHOICES} are allowed", param="prompt"
        )
    if all(isinstance(item, str) for item in given):
        return [await _encode(item, text, special) for item in given]
    if all(isinstance(item, list) and all(type(i) is int for i in item) for item in given):
        return [Prompt(item, None) for item in given]
    raise InvalidParameter(
        "prompt must be a string, a list of strings, a list of token ids, or a list of lists of token ids",
        param="prompt",
    )


def _truncated(
    prompts: list[Prompt], asked: CompletionRequest, params: SamplingParams, text: TextModel
) -> list[Prompt]:
    """Their last tokens, if truncate_prompt_tokens says how many; what is cut has no text of its own."""
    last = truncation_of(asked, params, text)
    if last is None:
        return prompts
    return [p if len(p.ids) <= last else Prompt(p.ids[-last:], None) for p in prompts]


async def _encode(prompt: str, text: TextModel, special: bool) -> Prompt:
    ids = await off_loop(len(prompt), lambda: text.encode(prompt, add_special_tokens=special))
    return Prompt(ids, prompt)


class CompletionAnswer:
    """Writes the answer to one request."""

    def __init__(
        self,
        asked: CompletionRequest,
        model: str,
        answer_id: str,
        served: Served,
        prompts: Sequence[Prompt],
        n: int,
    ) -> None:
        self._asked = asked
        self._tokenizer = served.text.tokenizer
        self._prompts = prompts
        self._n = n
        self._id = answer_id
        self._as_ids = bool(asked.return_tokens_as_token_ids)
        self.extras = Extras(asked, self._tokenizer)
        self._more = bool(self.extras)  # asked per chunk
        self._generation: Generation | None = None
        self._fingerprint = fingerprint(served.engine.info)
        self._fields: dict[str, Any] = {"created": int(time.time()), "model": model}
        self._chunks = Chunks(
            chunk_id=answer_id,
            kind="text_completion",
            usage=wants_usage(asked),
            fields=self._fields,
        )
        self._offsets: dict[int, int] = {}

    async def stream(self, generation: Generation) -> AsyncIterator[bytes]:
        """Events: text, the end of each choice once, usage if asked for, [DONE]."""
        self._generation = generation
        async for choice, delta in generation.events():
            event = self._event(choice, delta)
            if event:
                yield event
        if not generation.gone:
            yield self._chunks.usage(generation.usage()) + DONE

    def _event(self, choice: Choice, delta: Delta) -> bytes:
        text, logprobs = delta.text, b"null"
        opening = not choice.opened and bool(self._asked.echo)
        if self._asked.logprobs is not None:
            logprobs = encode(self._logprobs(choice, [delta], opening=opening).as_dict())
        if opening:
            text = self._echo(choice) + text
        if self._more:
            self.extras.add(choice, delta)
        if not text and not delta.scored and delta.finish is None:
            return b""
        finish = None if delta.finish is None else delta.finish.value
        end = self._detailed(choice, finish) if self._more else self._chunks.end(finish)
        choice.opened = True
        return b"".join(
            (
                self._chunks.start(choice.index),
                b'"text":',
                encode(text),
                b',"logprobs":',
                logprobs,
                end,
            )
        )

    def _detailed(self, choice: Choice, finish: str | None) -> bytes:
        assert self._generation is not None
        fields = self.extras.of_choice(choice)
        if not choice.opened:
            fields |= self.extras.of_prompt(choice)
        return self._chunks.detailed(finish, fields, self.extras.of_chunk(self._generation))

    def _echo(self, choice: Choice) -> str:
        """The prompt as text, for echo."""
        prompt = self._prompts[choice.index // self._n]
        if prompt.text is not None:
            return prompt.text
        return self._tokenizer.decode(prompt.ids)

    def _logprobs(self, choice: Choice, parts: Sequence[Delta], *, opening: bool) -> LegacyLogprobs:
        """Of the parts, after those of the prompt if this opens an echoed choice."""
        logprobs = LegacyLogprobs(self._tokenizer, as_ids=self._as_ids)
        if opening:
            echo = self._echo(choice)
            self._offsets[choice.index] = len(echo)
            items = choice.prompt_logprobs or [None] * len(choice.prompt)
            offsets = text_offsets(self._tokenizer, choice.prompt, echo)
            for token, item, offset in zip(choice.prompt, items, offsets, strict=True):
                logprobs.add(token, item, offset)
        for part in parts:
            logprobs.add_scored(part.scored, self._offsets.get(choice.index, 0))
        return logprobs

    async def whole(self, generation: Generation) -> Response:
        """One JSON object, choices in order of their index."""
        try:
            if not await generation.collect():
                return Response(status_code=499)  # nobody reads it
            choices = [self._choice(choice) for choice in self._best(generation.choices)]
        finally:
            generation.close()
        body = {
            "id": self._id,
            "object": "text_completion",
            **self._fields,
            "system_fingerprint": self._fingerprint,
            "choices": choices,
            "usage": usage_fields(generation.usage()),
        }
        return Response(encode(body), media_type="application/json")

    def _best(self, choices: Sequence[Choice]) -> Sequence[Choice]:
        """With best_of, the n of each prompt whose tokens were likeliest on average, the best first."""
        kept = self._asked.n or 1
        if self._n == kept:
            return choices
        best: list[Choice] = []
        for first in range(0, len(choices), self._n):
            rivals = sorted(choices[first : first + self._n], key=_mean_logprob, reverse=True)
            best += rivals[:kept]
        for index, choice in enumerate(best):
            choice.index = index
        self._n = kept  # an index leads to its prompt by this
        return best

    def _choice(self, choice: Choice) -> dict[str, Any]:
        echo, finish = bool(self._asked.echo), choice.reply.finish
        text = "".join(part.text for part in choice.parts)
        fields: dict[str, Any] = {
            "index": choice.index,
            "text": self._echo(choice) + text if echo else text,
            "logprobs": None,
            "finish_reason": None if finish is None else finish.value,
        }
        if self._asked.logprobs is not None:
            fields["logprobs"] = self._logprobs(choice, choice.parts, opening=echo).as_dict()
        return fields | self.extras.of_prompt(choice) | self.extras.of_whole(choice)


def _mean_logprob(choice: Choice) -> float:
    scored = [item.logprobs.logprob for delta in choice.parts for item in delta.scored]
    return sum(scored) / len(scored) if scored else 0.0
