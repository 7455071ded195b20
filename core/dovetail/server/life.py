"""How long a request is worked on: until it is answered, its client has left, or its time is up.

Before its replies have started, while its body is read, rendered, tokenised and checked, the task that answers it is
cancelled; from then on the replies are, and the engine frees them within a step. One timer for each request that has a
limit, none per token.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Protocol

from starlette.types import Receive

from dovetail.errors import DeadlineExceeded, InvalidParameter

MAX_TIMEOUT_S = 86_400.0


class Replies(Protocol):
    """What a request has started."""

    def leave(self) -> None:
        """Its client is gone: nobody reads what comes."""

    def expire(self, error: DeadlineExceeded) -> None:
        """Its time is up: whoever reads gets the error."""


class Life:
    """One request, from its head on. Made in the task that answers it; used on the event loop.

    most_s  seconds it may take, 0 for no limit; its client may set a shorter one

    gone     its client has left
    timer    around the work before replies have started
    """

    def __init__(self, most_s: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._began = self._loop.time()
        self._limit_s = most_s
        self._replies: Replies | None = None
        self._attached = False
        self._expiry: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.gone = False
        self.timer = asyncio.timeout_at(self._at)

    @property
    def _at(self) -> float | None:
        return self._began + self._limit_s if self._limit_s else None

    def limit(self, seconds: float) -> None:
        """The client's own limit, counted from the request's head; the server's stays where it is shorter."""
        if not self._limit_s or seconds < self._limit_s:
            self._limit_s = seconds
            self.timer.reschedule(self._at)

    def watch(self, receive: Receive) -> None:
        """The body has been read: what comes next is that the client leaves."""
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._until_gone(receive))

    async def _until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._attached and self._replies is not None:
            self._replies.leave()
        elif self._replies is None and self._task is not None:
            self._task.cancel()

    def started(self, replies: Replies) -> None:
        """The replies run: it is they that end when the time is up."""
        self._replies = replies
        self.timer.reschedule(None)
        at = self._at
        if at is not None:
            self._expiry = self._loop.call_at(at, self._expire, replies)

    def _expire(self, replies: Replies) -> None:
        replies.expire(self.error())

    def attach(self) -> None:
        """They end when the client leaves, too; those that go on in the background do not."""
        self._attached = True
        if self.gone and self._replies is not None:
            self._replies.leave()

    def ended(self) -> None:
        """The replies are over."""
        if self._expiry is not None:
            self._expiry.cancel()

    def close(self) -> None:
        """The request has been answered."""
        if self._watcher is not None:
            self._watcher.cancel()

    def error(self) -> DeadlineExceeded:
        """What a client is told when its time is up."""
        return DeadlineExceeded(
            f"the request was not complete after {self._limit_s:g} s, which is the time it had; "
            "ask for less, or allow more with timeout where the server does (--request-timeout-s)"
        )


# of the request that this task answers; None outside of a server
LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


def limit_time(timeout: float | None) -> None:
    """The time that a request gives itself, in seconds. Raises InvalidParameter."""
    if timeout is None:
        return
    if not 0 < timeout <= MAX_TIMEOUT_S:
        raise InvalidParameter(
            f"timeout is {timeout:g}; it is in seconds, above 0 and at most {MAX_TIMEOUT_S:g}",
            param="timeout",
        )
    life = LIFE.get()
    if life is not None:
        life.limit(timeout)
