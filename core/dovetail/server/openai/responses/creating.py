"""POST /v1/responses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail.errors import DovetailError, PromptTooLong, RequestError
from dovetail.request import FinishReason
from dovetail.server.ask import Ask
from dovetail.server.conversation import converse
from dovetail.server.errors import body_of
from dovetail.server.generation import Generation, Usage
from dovetail.server.life import limit_time
from dovetail.server.limits import read_json
from dovetail.server.openai.asking import metadata_of
from dovetail.server.served import Served, fresh_id
from dovetail.server.sse import Framing, begin, encode

from . import events, items, objects
from .asking import ask_of, check
from .keeping import Stored, conversation_before, keep
from .schema import ResponseRequest
from .writing import Writer, blank

decoder = msgspec.json.Decoder(ResponseRequest)
PARAMS = {"messages": "input", "prompt": "input"}
WORDS = {
    "max_tokens": "max_output_tokens",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
}


async def create_response(request: Request) -> Response:
    """Answer, whole, streamed, or in the background."""
    served: Served = request.app.state.served
    asked = await read_json(request, decoder, max_bytes=served.max_body_bytes)
    limit_time(asked.timeout)
    model = served.name(asked.model)
    check(asked)
    given = items.listed(asked.input)
    before = conversation_before(served, request.state.owner, asked.previous_response_id)
    messages = items.messages([*before, *given], asked.instructions)
    try:
        ask = ask_of(asked, messages, served.text, request.state.size)
        response = _fresh(asked, ask, model)
        generation = await _start(served, ask, response.id, cut=asked.truncation == "auto")
    except RequestError as error:
        raise _renamed(error) from None
    answer = Answer(served, generation, Stored(response, given), request.state.owner)
    if asked.background:
        return answer.in_background()
    generation.watch(request.receive)
    if asked.stream:
        return await begin(generation, answer.stream(), Framing(_broken_off))
    return await answer.whole()


async def _start(served: Served, ask: Ask, name: str, *, cut: bool) -> Generation:
    """Start the reply; `cut` drops the oldest messages, ever more of them, until the rest fits."""
    drop = 1
    while True:
        try:
            return await converse(served, ask, request_id=name)
        except PromptTooLong:
            shorter = _without(ask, drop) if cut else None
            if shorter is None:
                raise
            ask, drop = shorter, 2 * drop


def _without(ask: Ask, count: int) -> Ask | None:
    """The ask without its `count` oldest messages that are not instructions; None if nothing would be left."""
    head = [m for m in ask.messages[:1] if m["role"] == "system"]
    rest = list(ask.messages[len(head) :])[count:]
    while rest and rest[0]["role"] == "tool":  # the call it answers is gone
        del rest[0]
    return replace(ask, messages=[*head, *rest]) if rest else None


def _renamed(error: RequestError) -> RequestError:
    """The same, in the words of this endpoint."""
    text, param = str(error), error.param or ""
    for theirs, ours in WORDS.items():
        text, param = text.replace(theirs, ours), param.replace(theirs, ours)
    return type(error)(text, param=PARAMS.get(param, param or None))


def _fresh(asked: ResponseRequest, ask: Ask, model: str) -> objects.Response:
    """The response before anything has been said."""
    reasoning, text = asked.reasoning, asked.text
    form = text.format if text is not None else None
    return objects.Response(
        id=fresh_id("resp").replace("-", "_"),
        created_at=int(time.time()),
        status="in_progress",
        background=bool(asked.background),
        instructions=asked.instructions,
        max_output_tokens=asked.max_output_tokens,
        model=model,
        parallel_tool_calls=ask.parallel,
        previous_response_id=asked.previous_response_id,
        prompt_cache_key=asked.prompt_cache_key,
        reasoning={"effort": reasoning.effort if reasoning else None, "summary": None},
        safety_identifier=asked.safety_identifier,
        store=asked.store is not False,
        temperature=ask.sampling.temperature,
        text={"format": form or {"type": "text"}, "verbosity": "medium"},
        tool_choice="auto" if asked.tool_choice is None else asked.tool_choice,
        tools=[_echoed(tool) for tool in msgspec.to_builtins(asked.tools or [])],
        top_logprobs=asked.top_logprobs or 0,
        top_p=ask.sampling.top_p,
        truncation=asked.truncation or "disabled",
        user=asked.user,
        metadata=metadata_of(asked.metadata),
    )


def _echoed(tool: dict[str, Any]) -> dict[str, Any]:
    return tool | {"strict": bool(tool["strict"])}


def _broken_off(error: Exception) -> bytes:
    """What a stream ends with when something breaks that nobody foresaw."""
    fields = msgspec.json.decode(body_of(error))["error"]
    return framed(events.Failure(message=fields["message"], code=fields["code"]))


def framed(event: events.Event) -> bytes:
    """As it is sent."""
    name = type(event).__struct_config__.tag
    return b"event: %b\ndata: %b\n\n" % (str(name).encode(), encode(event))


@dataclass(slots=True)
class Answer:
    """The answer to one request."""

    served: Served
    generation: Generation
    stored: Stored
    owner: str

    @property
    def response(self) -> objects.Response:
        """As far as it has got."""
        return self.stored.response

    async def stream(self) -> AsyncIterator[bytes]:
        """Events, each with its number."""
        out: list[bytes] = []
        number = 0

        def emit(event: events.Event) -> None:
            nonlocal number
            event.sequence_number = number
            number += 1
            out.append(framed(event))

        emit(events.Created(response=self.response))
        emit(events.InProgress(response=self.response))
        writer = Writer(self.served.text.tokenizer, emit)
        try:
            async for _, delta in self.generation.events():
                writer.feed(delta)
                if out:
                    yield b"".join(out)
                    out.clear()
            self._end(writer)
        except DovetailError as error:
            if self.response.status == "in_progress" and number == 2:
                raise  # nothing has been sent: it can still be an HTTP error
            self._fail(writer, error)
        if not self.generation.gone:
            emit(ENDS[self.response.status](response=self.response))
            yield b"".join(out)

    async def whole(self) -> Response:
        """One JSON object."""
        try:
            if not await self._run():
                return Response(status_code=499)  # nobody reads it
        finally:
            self.generation.close()
        return Response(encode(self.response), media_type="application/json")

    async def _run(self) -> bool:
        """To the end; False if the client left."""
        writer = Writer(self.served.text.tokenizer, blank)
        async for _, delta in self.generation.events():
            writer.feed(delta)
        self._end(writer)
        return not self.generation.gone

    def in_background(self) -> Response:
        """The response as it begins; it is kept, and goes on by itself."""
        self.stored.task = asyncio.create_task(self._go_on())
        keep(self.served, self.owner, self.stored)
        return Response(encode(self.response), media_type="application/json")

    async def _go_on(self) -> None:
        try:
            await self._run()
        except asyncio.CancelledError:
            self.response.status = "cancelled"
        except DovetailError as error:
            self._fail(Writer(self.served.text.tokenizer, blank), error)
        finally:
            self.generation.close()

    def _end(self, writer: Writer) -> None:
        """Everything has been said."""
        if self.generation.gone:
            return
        cut = self.generation.choices[0].reply.finish is FinishReason.LENGTH
        writer.close("incomplete" if cut else "completed")
        self.response.status = "incomplete" if cut else "completed"
        if cut:
            self.response.incomplete_details = objects.Incomplete("max_output_tokens")
        else:
            self.response.completed_at = int(time.time())
        self._settle(writer)

    def _fail(self, writer: Writer, error: DovetailError) -> None:
        writer.end("incomplete")
        self.response.status = "failed"
        self.response.error = objects.Failure("server_error", str(error))
        self._settle(writer)

    def _settle(self, writer: Writer) -> None:
        self.response.output = writer.items
        self.response.usage = _usage(self.generation.usage())
        if self.response.store:
            keep(self.served, self.owner, self.stored)


ENDS: dict[str, type[events.OfResponse]] = {
    "completed": events.Completed,
    "incomplete": events.IncompleteResponse,
    "failed": events.Failed,
}


def _usage(usage: Usage) -> objects.Usage:
    return objects.Usage(
        usage.prompt,
        objects.CachedTokens(usage.cached),
        usage.generated,
        objects.ReasoningTokens(usage.reasoning),
        usage.prompt + usage.generated,
    )
