"""Answers that are sent as they grow: server-sent events, or lines, in whatever form the dialect has."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dovetail.errors import DovetailError

from .errors import body_of
from .exchange import EXCHANGE
from .generation import Generation

log = logging.getLogger("dovetail.server")

encode = msgspec.json.encode
DIRECT = "send"  # in a request's state: the server's own `send`


@dataclass(frozen=True, slots=True)
class Framing:
    """The form of a stream.

    failure  what is written when an error comes after the first event, and the headers are out
    """

    failure: Callable[[Exception], bytes]
    media_type: str = "text/event-stream; charset=utf-8"

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Of the response."""
        return [
            (b"content-type", self.media_type.encode()),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]


OPENAI = Framing(lambda error: b"data: " + body_of(error) + b"\n\ndata: [DONE]\n\n")


class EventStream(Response):
    """Sends events as they come. Closes the generation at the end, however it ends.

    `events` has been run to its first event, so that an error before it is still an HTTP error.

    The head of the answer goes through everything that is in front of the route. Events do not: nothing there has
    anything to say to them, and each of its layers would cost something per event.
    """

    def __init__(
        self,
        generation: Generation,
        first: bytes | None,
        events: AsyncIterator[bytes],
        framing: Framing,
    ) -> None:
        super().__init__()
        self._generation = generation
        self._first = first
        self._events = events
        self._framing = framing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = self._framing.headers
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            send = scope.get("state", {}).get(DIRECT, send)
            if self._first:
                await _send(send, self._first)
            try:
                async for event in self._events:
                    await _send(send, event)
            except Exception as error:  # headers are out: what is left is an event that tells it
                EXCHANGE.get().failure = type(error).__name__
                if not isinstance(error, DovetailError):
                    log.exception("a stream broke off")
                await _send(send, self._framing.failure(error))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._generation.close()


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def begin(
    generation: Generation, events: AsyncIterator[bytes], framing: Framing = OPENAI
) -> EventStream:
    """Wait for the first event, then stream; raises what happens before it."""
    try:
        first = await anext(events, None)
    except BaseException:
        generation.close()
        raise
    return EventStream(generation, first, events, framing)
