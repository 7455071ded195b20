"""What every EngineClient does alike: it opens streams, sends commands and takes reports."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from dataclasses import replace

from dovetail.config import EngineConfig
from dovetail.errors import EngineStopped, Overloaded
from dovetail.request import Request

from .client import EngineInfo, EngineStats, Stream
from .messages import Cancel, Command, Failed, Report, Stepped, Submit
from .streams import Streams


class ConnectedClient(ABC):
    """An EngineClient, short of how commands reach the engine and how it is stopped. Used on the event loop only.

    delivered  whether any request has got anything
    """

    def __init__(self, info: EngineInfo, config: EngineConfig) -> None:
        self.info = info
        self._streams = Streams(info, config.max_queue, config.max_queue_tokens)
        self._stats = EngineStats()
        self._heard = time.monotonic()
        self._lost = asyncio.Event()
        self.delivered = False

    @abstractmethod
    def _send(self, command: Command) -> None:
        """Give the engine a command; it never waits."""

    @abstractmethod
    async def close(self) -> None:
        """Stop the engine; running requests end as cancelled."""

    def take(self, report: Report) -> None:
        """Handle a report of the engine."""
        if isinstance(report, Stepped):
            self._stats = report.stats
            self._heard = time.monotonic()
            self.delivered = self.delivered or bool(report.outputs)
            self._streams.deliver(report.outputs)
        elif isinstance(report, Failed):
            self.lost(EngineStopped(f"the engine failed: {report.kind}: {report.message}"))

    def lost(self, error: EngineStopped) -> None:
        """The engine is gone: every stream raises, and the first reason stays."""
        if self._streams.stopped is None:
            self._streams.stop(error)
        self._lost.set()

    async def wait_lost(self, seconds: float) -> None:
        """Until the engine is gone, for so long at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._lost.wait(), seconds)

    def silent_s(self) -> float:
        """Seconds that requests have been waiting for the engine to say anything; 0 while there are none."""
        return time.monotonic() - self._heard if self._streams.num_open else 0.0

    async def submit(self, request: Request) -> Stream:
        """Queue a request. Raises PromptTooLong, InvalidParameter, Overloaded or EngineStopped."""
        if not self._streams.num_open:
            self._heard = time.monotonic()
        stream = self._streams.open(request, self._cancel)
        self._send(Submit.of(request))
        return stream

    def closed(self) -> Overloaded | None:
        """What any request is refused with now."""
        return self._streams.closed()

    def _cancel(self, request_id: str) -> None:
        if self.healthy():
            self._send(Cancel(request_id))

    async def stats(self) -> EngineStats:
        """As of the last step; raises EngineStopped."""
        if self._streams.stopped is not None:
            raise self._streams.stopped
        return replace(self._stats, queue_tokens=self._streams.num_tokens)

    def healthy(self) -> bool:
        """Whether the engine can take requests."""
        return self._streams.stopped is None

    def ended(self) -> bool:
        """Whether it will never take requests again: nobody starts this one a second time."""
        return not self.healthy()
