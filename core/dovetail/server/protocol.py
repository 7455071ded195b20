"""Uvicorn's HTTP protocol with bounds on what comes before a request is known: the size of its head and the time it takes.

The application bounds the body itself; see limits.py.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD_BYTES = 64 << 10
MAX_HEADERS = 128
HEAD_TIMEOUT_S = 30.0
STALL_TIMEOUT_S = 60.0


class HeadTooLarge(httptools.HttpParserError):
    """The request line and its headers are more than is read."""


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 to a head that is too large, and closes a connection on which none arrives in time.

    head_timeout_s   from the start of a connection, or the end of the last answer, to the end of a head
    stall_timeout_s  that a client may take to read some of what waits for it
    """

    head_timeout_s = HEAD_TIMEOUT_S
    stall_timeout_s = STALL_TIMEOUT_S
    _stall: TimerHandle | None = None
    _timer: TimerHandle | None = None
    _head_bytes = 0  # of the head that is being read, as far as it is parsed
    _bare_bytes = 0  # that have come since the parser last had something to say
    _progress = False
    _too_large = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_stall()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads less than there is for it."""
        super().pause_writing()
        self._stall = self.loop.call_later(self.stall_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_stall()

    def _stop_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def data_received(self, data: bytes) -> None:
        self._progress = False
        super().data_received(data)
        if self._progress or self.transport.is_closing():
            return
        self._bare_bytes += len(data)  # of a header, or of a chunk's head, without an end
        if self._bare_bytes > MAX_HEAD_BYTES:
            self._too_large = True
            self.send_400_response("")

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._advance()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if len(self.headers) >= MAX_HEADERS:
            self._refuse()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._advance()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._advance()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._advance()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._start_timer()

    def _advance(self) -> None:
        self._progress, self._bare_bytes = True, 0

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse()

    def _refuse(self) -> None:
        self._too_large = True
        raise HeadTooLarge

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser fails, for whatever reason."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # an answer is on its way: nothing can be said in its midst
            return
        if not self._too_large:
            super().send_400_response(msg)
            return
        text = f"The request's headers have more than {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} lines; send less."
        head = f"content-type: text/plain; charset=utf-8\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[431] + (head + text).encode())
        self.transport.close()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bounded(
    head_timeout_s: float, stall_timeout_s: float = STALL_TIMEOUT_S
) -> type[BoundedProtocol]:
    """The protocol with other time limits."""
    limits = {"head_timeout_s": head_timeout_s, "stall_timeout_s": stall_timeout_s}
    return type("Bounded", (BoundedProtocol,), limits)
