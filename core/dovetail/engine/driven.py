"""What a loop drives: the engine that generates, or the one for encoders."""

from __future__ import annotations

from typing import Protocol

from dovetail.request import Output, Request

from .client import EngineInfo, EngineStats


class Driven(Protocol):
    """Requests in, outputs out, a step at a time. Not thread-safe: one thread calls it."""

    info: EngineInfo

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""

    def submit(self, request: Request) -> None:
        """Queue a request; one that can never fit ends with an error in the next step's outputs."""

    def cancel(self, request_id: str) -> None:
        """End a request; nothing happens if it has ended or never was."""

    def cancel_all(self) -> None:
        """End every request."""

    def step(self) -> list[Output]:
        """Compute, and what has come of it."""

    def idle(self) -> bool:
        """Do something that nobody waits for; whether there is more of it. Only while there is no work."""

    def stats(self) -> EngineStats:
        """Counters since start and gauges as of now."""

    def close(self) -> None:
        """Give everything back. Twice does no harm."""
