"""POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail.request import FinishReason
from dovetail.server import forms
from dovetail.server.ask import Ask
from dovetail.server.conversation import converse, prompt_of
from dovetail.server.endpoint import Endpoint
from dovetail.server.generation import Choice, Generation, Usage
from dovetail.server.limits import read_json
from dovetail.server.served import Served, fresh_id
from dovetail.server.sse import Framing, begin, encode
from dovetail.text.reply import Delta

from .answer import PING, Events, blocks_of, event
from .asking import ask_of
from .objects import Count, Event, Message
from .schema import CountRequest, MessagesRequest

decoder = msgspec.json.Decoder(MessagesRequest)
count_decoder = msgspec.json.Decoder(CountRequest)
ONGOING: Mapping[str, Any] = {"stop_reason": None, "stop_sequence": None}
WORDS = {"prompt": "messages", "stop": "stop_sequences", "reasoning_effort": "output_config.effort"}
FRAMING = Framing(
    lambda error: b"event: error\ndata: " + encode(forms.anthropic_fields(error)) + b"\n\n"
)


async def messages(request: Request) -> Response:
    """Answer a conversation, whole or streamed."""
    served: Served = request.app.state.served
    asked = await read_json(request, decoder, max_bytes=served.max_body_bytes)
    model = served.name(asked.model)
    ask = ask_of(asked, served.text, request.state.size)
    answer_id = fresh_id("msg")
    generation = await converse(served, ask, request_id=answer_id)
    generation.watch(request.receive)
    answer = Answer(asked, ask, model, answer_id)
    if asked.stream:
        return await begin(generation, answer.stream(generation), FRAMING)
    return await answer.whole(generation)


async def count_tokens(request: Request) -> Response:
    """The tokens of the prompt that a conversation becomes."""
    served: Served = request.app.state.served
    asked = await read_json(request, count_decoder, max_bytes=served.max_body_bytes)
    served.name(asked.model)
    prompt = await prompt_of(served.text, ask_of(asked, served.text, request.state.size))
    return Response(encode({"input_tokens": len(prompt.ids)}), media_type="application/json")


class Answer:
    """Writes the answer to one request."""

    def __init__(self, asked: MessagesRequest, ask: Ask, model: str, answer_id: str) -> None:
        self._model, self._id = model, answer_id
        self._max_tokens = asked.max_tokens
        self._omit = bool(asked.thinking and asked.thinking.display == "omitted")

    def _message(
        self, content: list[Any], usage: Usage, ended: Mapping[str, Any] = ONGOING
    ) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            **ended,
            "usage": {**_usage(usage), "service_tier": "standard"},
        }

    def _ended(self, choice: Choice, last: Delta) -> dict[str, Any]:
        """Why the reply ended."""
        stopped = last.stopped if isinstance(last.stopped, str) else None
        if choice.reply.finish is FinishReason.LENGTH:
            full = choice.reply.num_tokens < self._max_tokens
            reason = "model_context_window_exceeded" if full else "max_tokens"
        elif stopped is not None:
            reason = "stop_sequence"
        else:
            reason = "tool_use" if choice.called else "end_turn"
        return {"stop_reason": reason, "stop_sequence": stopped}

    async def whole(self, generation: Generation) -> Response:
        """One JSON object."""
        try:
            if not await generation.collect():
                return Response(status_code=499)  # nobody reads it
        finally:
            generation.close()
        choice = generation.choices[0]
        parts = (part for delta in choice.parts for part in delta.spoken())
        content = blocks_of(parts, omit_thinking=self._omit)
        ended = self._ended(choice, choice.parts[-1])
        body = self._message(content, generation.usage(), ended)
        return Response(encode(body), media_type="application/json")

    async def stream(self, generation: Generation) -> AsyncIterator[bytes]:
        """Events in the documented order."""
        events = Events(omit_thinking=self._omit)
        async for choice, delta in generation.events():
            opening = b"" if choice.opened else self._start(generation)
            choice.opened = True
            written = opening + self._event(events, choice, delta, generation)
            if written:
                yield written

    def _start(self, generation: Generation) -> bytes:
        message = self._message([], generation.usage())
        return event("message_start", {"message": message}) + PING

    def _event(self, events: Events, choice: Choice, delta: Delta, generation: Generation) -> bytes:
        written = events.write(delta.spoken())
        if delta.finish is None:
            return written
        end = {"delta": self._ended(choice, delta), "usage": _usage(generation.usage())}
        stop = event("message_stop", {})
        return written + events.close() + event("message_delta", end) + stop


def _usage(usage: Usage) -> dict[str, Any]:
    """Tokens as Anthropic counts them: input_tokens without what came from the cache."""
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.generated,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/messages",
        handle=messages,
        summary="Answer a conversation, as Anthropic's API does",
        body=MessagesRequest,
        answer=Message,
        streamed=Event,
        errors=forms.anthropic,
        words=WORDS,
    ),
    Endpoint(
        method="POST",
        path="/v1/messages/count_tokens",
        handle=count_tokens,
        summary="Count the tokens of a conversation",
        body=CountRequest,
        answer=Count,
        errors=forms.anthropic,
        words=WORDS,
    ),
)
