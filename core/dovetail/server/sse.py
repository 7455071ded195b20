"""Server-sent events as OpenAI writes them: the constant parts of a chunk are encoded once per request."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dovetail.errors import DovetailError

from .errors import body_of
from .generation import Generation

log = logging.getLogger("dovetail.server")

DONE = b"data: [DONE]\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
encode = msgspec.json.encode


class Chunks:
    """Writes the chunks of one answer.

    usage  every chunk has a `usage` field, null but in the last
    """

    def __init__(self, *, chunk_id: str, kind: str, created: int, model: str, usage: bool) -> None:
        fields = {"id": chunk_id, "object": kind, "created": created, "model": model}
        self._head = b"data: " + encode(fields)[:-1] + b',"choices":['
        self._with_usage = usage
        self._open = b',"finish_reason":null}]' + (b',"usage":null' if usage else b"") + b"}\n\n"
        self._starts: dict[int, bytes] = {}

    def start(self, index: int) -> bytes:
        """A chunk up to and with a choice's index; what follows is a field of the choice."""
        start = self._starts.get(index)
        if start is None:
            start = self._starts[index] = self._head + b'{"index":%d,' % index
        return start

    def end(self, finish: str | None) -> bytes:
        """The rest of a chunk after the choice's own fields."""
        if finish is None:
            return self._open
        usage = b',"usage":null' if self._with_usage else b""
        return b',"finish_reason":' + encode(finish) + b"}]" + usage + b"}\n\n"

    def usage(self, usage: dict[str, object]) -> bytes:
        """The last chunk: no choices, only the usage; nothing if it was not asked for."""
        if not self._with_usage:
            return b""
        return self._head + b'],"usage":' + encode(usage) + b"}\n\n"


class EventStream(Response):
    """Sends events as they come. Closes the generation at the end, however it ends.

    `events` has been run to its first event, so that an error before it is still an HTTP error.
    """

    def __init__(
        self, generation: Generation, first: bytes | None, events: AsyncIterator[bytes]
    ) -> None:
        super().__init__()
        self._generation = generation
        self._first = first
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS[:]})
            if self._first:
                await _send(send, self._first)
            try:
                async for event in self._events:
                    await _send(send, event)
            except Exception as error:  # headers are out: what is left is an event that tells it
                if not isinstance(error, DovetailError):
                    log.exception("a stream broke off")
                await _send(send, b"data: " + body_of(error) + b"\n\n" + DONE)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._generation.close()


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def begin(generation: Generation, events: AsyncIterator[bytes]) -> EventStream:
    """Wait for the first event, then stream; raises what happens before it."""
    try:
        first = await anext(events, None)
    except BaseException:
        generation.close()
        raise
    return EventStream(generation, first, events)
