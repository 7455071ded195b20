"""Who goes first: one total order for the line, for the rows of a step and (backwards) for preemption."""

from __future__ import annotations

from typing import Protocol

from dovetail.request import Request

FIRST_OUTPUT = 256.0
"""Tokens that a request is taken to generate as long as none has ended."""
MEMORY = 16
"""Requests over which the mean of what they generate is taken, roughly."""


class Policy(Protocol):
    """A total order over requests, fixed when one arrives. It is told what becomes of them."""

    def order(self, request: Request, arrival: int) -> tuple[int, ...]:
        """A key, least first; `arrival` counts up, so that no two keys are equal."""

    def entered(self, request: Request) -> None:
        """It has been let in, for the first time."""

    def ended(self, request: Request, computed: int, generated: int) -> None:
        """It is over, wherever it was: tokens that were computed for it, and that it got; 0 if it was never let in."""


class Arrival:
    """First come, first served."""

    def order(self, request: Request, arrival: int) -> tuple[int, ...]:
        return (arrival,)

    def entered(self, request: Request) -> None:
        """Nothing changes."""

    def ended(self, request: Request, computed: int, generated: int) -> None:
        """Nothing changes."""


class Priority(Arrival):
    """The lowest priority number first, then first come, first served."""

    def order(self, request: Request, arrival: int) -> tuple[int, ...]:
        return (request.priority, arrival)


class FairShare:
    """The lowest priority number first; then owners in turn, by tokens; then first come, first served.

    Start-time fair queuing: a request starts, in virtual time, when the one before it of its owner ends there or
    now, whichever is later, and lasts as many tokens as it takes; now is the latest start that was let in. So an owner who
    comes now and then stands before all but the first few of another's thousand, and nobody's share is lost while he is away.
    Starts count in rounds: within one, longer cached prefixes may go first, and whoever comes waits for about one.
    Requests without an owner are not charged: if none has one, this is Priority.

    quantum  tokens of a round

    What a request will generate is guessed by what others did, and put right when it ends; what the cache spares it
    is not charged. Source: Goyal, Vin and Cheng 1996, Start-time Fair Queuing, section 2.
    """

    def __init__(self, quantum: int) -> None:
        self._quantum = quantum
        self._now = 0.0
        self._finish: dict[str, float] = {}  # owner -> virtual time at which his last one ends
        self._open: dict[str, tuple[float, float]] = {}  # request -> start and length
        self._output = FIRST_OUTPUT

    def order(self, request: Request, arrival: int) -> tuple[int, ...]:
        if not request.owner:
            return (request.priority, int(self._now) // self._quantum, arrival)
        start = max(self._now, self._finish.get(request.owner, 0.0))
        length = len(request.prompt) + min(request.max_tokens, self._output)
        self._finish[request.owner] = start + length
        self._open[request.id] = (start, length)
        return (request.priority, int(start) // self._quantum, arrival)

    def entered(self, request: Request) -> None:
        start, _ = self._open.get(request.id, (0.0, 0.0))
        self._now = max(self._now, start)

    def ended(self, request: Request, computed: int, generated: int) -> None:
        found = self._open.pop(request.id, None)
        if found is None:
            return
        if generated:
            self._output += (generated - self._output) / MEMORY
        if not self._open:  # nobody waits for anybody: everyone begins anew
            self._now = 0.0
            self._finish.clear()
            return
        self._finish[request.owner] += computed - found[1]
