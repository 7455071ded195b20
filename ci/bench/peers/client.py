"""A load generator: one raw HTTP connection per request, timestamps taken as bytes arrive, parsed after the run.

Standard library only, so that it also runs in a peer's environment; as little work per byte as possible, because it
shares the machine with the server it measures.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast


@dataclass(slots=True)
class Reply:
    """One streamed reply. What came is parsed by `read`, after the run: it would take time from the server measured.

    pieces    what arrived, and when
    started   when the request was written, seconds
    arrivals  when each event with text arrived
    prompt_tokens, tokens, cached  as the server counted them
    """

    started: float
    pieces: list[tuple[float, bytes]] = field(default_factory=list, repr=False)
    arrivals: list[float] = field(default_factory=list)
    text: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    cached: int = 0

    def read(self) -> Reply:
        """Parse what came, once; raises RuntimeError for anything but a whole stream."""
        if self.pieces:
            parse(self, self.pieces)
            self.pieces = []
        return self

    @property
    def first_s(self) -> float:
        """Seconds to the first text."""
        return self.arrivals[0] - self.started

    @property
    def gaps_s(self) -> list[float]:
        """Seconds between deliveries."""
        return [b - a for a, b in zip(self.arrivals, self.arrivals[1:], strict=False)]


class Connection(asyncio.Protocol):
    """Writes one request and keeps what comes back, with the time of each piece."""

    def __init__(self, request: bytes) -> None:
        self.started = 0.0
        self.pieces: list[tuple[float, bytes]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.started = time.perf_counter()
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self.pieces.append((time.perf_counter(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


class Client:
    """Sends requests to one server."""

    def __init__(self, host: str, port: int, model: str) -> None:
        self.host, self.port, self._model = host, port, model

    async def complete(self, prompt: list[int] | str, tokens: int) -> Reply:
        """Stream exactly `tokens` tokens after a prompt."""
        return await self._stream("/v1/completions", {"prompt": prompt}, tokens)

    async def chat(self, messages: list[dict[str, str]], tokens: int) -> Reply:
        """Stream exactly `tokens` tokens of an answer."""
        reply = await self._stream("/v1/chat/completions", {"messages": messages}, tokens)
        return reply.read()  # the next turn begins with its text

    async def _stream(self, path: str, asked: Mapping[str, Any], tokens: int) -> Reply:
        body = {
            "model": self._model,
            **asked,
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        request = _request(self.host, self.port, path, body)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(request), self.host, self.port
        )
        await connection.done
        return Reply(connection.started, connection.pieces)


def _request(host: str, port: int, path: str, body: Mapping[str, Any]) -> bytes:
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def parse(reply: Reply, pieces: list[tuple[float, bytes]]) -> None:
    """Fill in what the pieces of an HTTP answer say; raises RuntimeError for anything but a whole stream.

    Every server measured writes an event in one chunk, so the lines of chunked encoding lie between events, are no
    `data:` lines and need no decoding. An event that arrives in two pieces is put together first.
    """
    whole = b"".join(data for _, data in pieces)
    if b" 200" not in whole.split(b"\r\n", 1)[0]:
        raise RuntimeError(f"the server answered {whole[:500]!r}")
    rest = b""
    for arrived, data in pieces:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                _read_event(reply, arrived, json.loads(line[6:]))
    if not reply.arrivals or not reply.tokens:
        raise RuntimeError(f"a reply had no text or no usage: {reply}")


def _read_event(reply: Reply, arrived: float, event: Mapping[str, Any]) -> None:
    if "error" in event:
        raise RuntimeError(f"the server answered {str(event)[:500]}")
    if usage := event.get("usage"):
        reply.prompt_tokens = usage["prompt_tokens"]
        reply.tokens = usage["completion_tokens"]
        reply.cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    for choice in event.get("choices") or ():
        text = choice.get("text") or (choice.get("delta") or {}).get("content")
        if text:
            reply.arrivals.append(arrived)
            reply.text += text
