"""POST /api/chat and /api/generate."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail.request import FinishReason
from dovetail.server import forms
from dovetail.server.conversation import converse
from dovetail.server.generation import Generation
from dovetail.server.infill import infill_ids
from dovetail.server.limits import read_json
from dovetail.server.openai.logprobs import chat_entries
from dovetail.server.served import Served, fresh_id, off_loop
from dovetail.server.sse import Framing, begin, encode
from dovetail.text.reply import Delta

from .answer import Clock, Said, Speaker, logprobs, now
from .asking import ask_of_chat, ask_of_generate, check_generate, sampling_of
from .catalog import served_name
from .messages import is_empty
from .schema import Ask, ChatRequest, GenerateRequest

chat_decoder = msgspec.json.Decoder(ChatRequest)
generate_decoder = msgspec.json.Decoder(GenerateRequest)
LINES = Framing(
    lambda error: encode(forms.plain_fields(error)) + b"\n", media_type="application/x-ndjson"
)
Shape = Callable[[Said], dict[str, Any]]


async def chat(request: Request) -> Response:
    """Answer a chat, streamed unless it says otherwise."""
    served: Served = request.app.state.served
    asked = await read_json(request, chat_decoder, max_bytes=served.max_body_bytes, untyped=True)
    answer = Answer(asked, served, lambda said: {"message": said.message()})
    if is_empty(asked):
        return answer.loaded()
    ask = ask_of_chat(asked, served.text, request.state.size)
    return await answer.of(request, await converse(served, ask, request_id=fresh_id("ollama")))


async def generate(request: Request) -> Response:
    """Answer a prompt: through the chat template, raw, or filling in before a suffix."""
    served: Served = request.app.state.served
    asked = await read_json(
        request, generate_decoder, max_bytes=served.max_body_bytes, untyped=True
    )
    answer = Answer(asked, served, Said.response)
    check_generate(asked, served.text)
    if is_empty(asked) and not asked.suffix:
        return answer.loaded()
    return await answer.of(request, await _generation(asked, served, request.state.size))


async def _generation(asked: GenerateRequest, served: Served, size: int) -> Generation:
    text, request_id = served.text, fresh_id("ollama")
    if not asked.raw and not asked.suffix:
        ask = ask_of_generate(asked, text, size)
        return await converse(served, ask, request_id=request_id)
    prompt, suffix = asked.prompt or "", asked.suffix or ""

    def tokens() -> list[int]:
        return infill_ids(text, prompt, suffix) if suffix else text.encode(prompt)

    ids = await off_loop(size, tokens)
    params = sampling_of(asked, text)
    return await Generation.start(
        served, [ids], params, request_id=request_id, clip=True, continues=True
    )


class Answer:
    """Writes the answer to one request; shape: what was said -> the fields that say it."""

    def __init__(self, asked: Ask, served: Served, shape: Shape) -> None:
        self._name = served_name(served, asked.model)
        self._served, self._shape = served, shape
        self._streamed = asked.stream is not False
        self._logprobs = bool(asked.logprobs)
        self._context = isinstance(asked, GenerateRequest) and not asked.raw and not asked.suffix
        self._speaker = Speaker()
        self._clock = Clock()

    def loaded(self) -> Response:
        """The answer to an ask without words: the model is there, and was."""
        kind = LINES.media_type if self._streamed else "application/json"
        fields = self._object(Said(), done_reason="load")
        return Response(encode(fields) + b"\n" * self._streamed, media_type=kind)

    async def of(self, request: Request, generation: Generation) -> Response:
        """The answer of a generation that has been started."""
        self._clock.begun = time.perf_counter_ns()
        generation.watch(request.receive)
        if self._streamed:
            return await begin(generation, self._lines(generation), LINES)
        return await self._whole(generation)

    async def _whole(self, generation: Generation) -> Response:
        said, scored, last = Said(), [], Delta()
        try:
            async for _, delta in generation.events():
                self._clock.token()
                said.add(self._speaker.take(delta.spoken()))
                scored += self._scored(delta)
                last = delta
        finally:
            generation.close()
        if generation.gone:
            return Response(status_code=499)  # nobody reads it
        fields = self._object(said, **self._end(generation, last))
        if self._logprobs:
            fields["logprobs"] = scored
        return Response(encode(fields), media_type="application/json")

    async def _lines(self, generation: Generation) -> AsyncIterator[bytes]:
        async for _, delta in generation.events():
            self._clock.token()
            said, scored = self._speaker.take(delta.spoken()), self._scored(delta)
            if said or scored:
                more = {"logprobs": scored} if scored else {}
                yield encode(self._object(said, **more)) + b"\n"
            if delta.finish is not None:
                yield encode(self._object(Said(), **self._end(generation, delta))) + b"\n"

    def _object(self, said: Said, **more: Any) -> dict[str, Any]:
        """One object; done if there is a reason why."""
        fields = {"model": self._name, "created_at": now(), **self._shape(said)}
        return {**fields, "done": "done_reason" in more, **more}

    def _end(self, generation: Generation, last: Delta) -> dict[str, Any]:
        usage, choice = generation.usage(), generation.choices[0]
        reason = "length" if last.finish is FinishReason.LENGTH else "stop"
        context = {"context": [*choice.prompt, *choice.tokens]} if self._context else {}
        took = self._clock.durations(prompt_tokens=usage.prompt, tokens=usage.generated)
        return {"done_reason": reason, **context, **took}

    def _scored(self, delta: Delta) -> list[dict[str, Any]]:
        if not self._logprobs:
            return []
        return logprobs(chat_entries(self._served.text.tokenizer, delta.scored))
