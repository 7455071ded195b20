"""What is in front of everything else: it writes down how each request went, and gives it its id."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dovetail.logs import FIELDS, REQUEST_ID

from .exchange import EXCHANGE, Exchange
from .sse import DIRECT
from .traffic import Traffic

LEFT = 499  # nginx's: the client was gone before there was a status
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
log = logging.getLogger("dovetail.access")

Ended = Callable[[Exchange], None]


class Journal:
    """Writes exchanges down. `ended` is called with each one that is over, besides."""

    def __init__(self, traffic: Traffic, ended: Ended | None = None) -> None:
        self._traffic = traffic
        self._ended = ended

    async def record(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, and write down how it went."""
        exchange = self._begin(scope)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await send(message)

        state = scope.setdefault("state", {})
        state["request_id"], state[DIRECT] = exchange.request_id, send
        EXCHANGE.set(exchange)
        REQUEST_ID.set(exchange.request_id)
        try:
            await app(scope, receive, noted)
        finally:
            self._end(exchange, scope)

    def _begin(self, scope: Scope) -> Exchange:
        given, parent = None, b""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
            elif name == b"traceparent":
                parent = value
        return Exchange(
            method=scope["method"],
            path=scope["path"],
            request_id=_request_id(given),
            trace_parent=parent[:100].decode("latin-1"),
        )

    def _end(self, exchange: Exchange, scope: Scope) -> None:
        exchange.ended = time.perf_counter()
        exchange.status = exchange.status or LEFT
        exchange.route = getattr(scope.get("endpoint"), "path", exchange.route)
        self._traffic.count(exchange.method, exchange.route, exchange.status)
        if log.isEnabledFor(logging.INFO):
            log.info("request", extra={FIELDS: exchange.fields()})
        if self._ended is not None:
            self._ended(exchange)


def _request_id(given: bytes | None) -> str:
    """The client's id if it is a harmless one, else a fresh one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return f"req_{secrets.token_hex(16)}"
