"""Who goes first: one total order for the line, for the rows of a step and (backwards) for preemption."""

from __future__ import annotations

from typing import Protocol

from dovetail.request import Request


class Policy(Protocol):
    """A total order over requests, fixed when one arrives."""

    def order(self, request: Request, arrival: int) -> tuple[int, ...]:
        """A key, least first; `arrival` counts up, so that no two keys are equal."""


class Arrival:
    """First come, first served."""

    def order(self, request: Request, arrival: int) -> tuple[int, ...]:
        return (arrival,)


class Priority:
    """The lowest priority number first, then first come, first served."""

    def order(self, request: Request, arrival: int) -> tuple[int, ...]:
        return (request.priority, arrival)
