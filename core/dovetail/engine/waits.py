"""How long requests are in the line before a step takes them up."""

from __future__ import annotations

from collections.abc import Callable


class Waits:
    """One entry per request from its arrival to its first output. A preempted one has waited only once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}
        self._waited_us: dict[str, int] = {}

    def begin(self, request_id: str) -> None:
        """It has arrived."""
        self._since[request_id] = self._clock()

    def end(self, request_id: str, now: float) -> None:
        """A step has taken it up."""
        since = self._since.pop(request_id, None)
        if since is not None:
            self._waited_us[request_id] = int((now - since) * 1e6)

    def pop(self, request_id: str) -> int:
        """Microseconds that it waited, told once."""
        return self._waited_us.pop(request_id, -1)

    def drop(self, request_id: str) -> None:
        """It is over."""
        self._since.pop(request_id, None)
        self._waited_us.pop(request_id, None)
