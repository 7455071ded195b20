"""Requests whose prompt is being read from disk: they join the line when it is there, or would be sooner computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dovetail.request import Request
from dovetail.scheduler import Scheduler, namespace
from dovetail.tiers import Loading, Tiers

from .client import EngineStats

WAIT_S = 0.02
"""How long an idle engine waits for the disk before it looks at its commands again."""
UNKNOWN_S = 1.0
"""What a prompt is taken to cost as long as no step has run."""


@dataclass(slots=True)
class _Waiting:
    request: Request
    loading: Loading
    gives_up: float


class Restoring:
    """The tiers below the cache as the engine sees them; without tiers it does nothing."""

    def __init__(
        self, tiers: Tiers | None, scheduler: Scheduler, clock: Callable[[], float]
    ) -> None:
        self.tiers = tiers
        self._scheduler = scheduler
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        scheduler.cache.below = tiers

    @property
    def ids(self) -> list[str]:
        """Requests that wait for the disk."""
        return list(self._waiting)

    def begin(self, request: Request) -> bool:
        """Whether a request has to wait for the disk; it comes out of `ready`."""
        if self.tiers is None or request.sampling.prompt_logprobs is not None:
            return False
        space, limit = namespace(request), len(request.prompt) - 1
        match = self._scheduler.cache.match(space, request.prompt, limit)
        loading = self.tiers.begin(match.path, space, request.prompt, limit)
        if loading is None:
            return False
        seconds = self._scheduler.prompt_seconds(loading.tokens) or UNKNOWN_S
        self._waiting[request.id] = _Waiting(request, loading, self._clock() + seconds)
        return True

    def ready(self, *, block: bool) -> list[Request]:
        """Requests that wait no longer; waits a moment for one if `block`."""
        if not self._waiting:
            return []
        found = self._done()
        if not found and block and self.tiers is not None:
            self.tiers.wait(WAIT_S)
            found = self._done()
        for request in found:
            del self._waiting[request.id]
        return found

    def _done(self) -> list[Request]:
        now, found = self._clock(), []
        for waiting in self._waiting.values():
            if not waiting.loading.job.done and now < waiting.gives_up:
                continue
            waiting.loading.job.cancel()
            found.append(waiting.request)
        return found

    def abandon(self, request_id: str) -> bool:
        """Forget a request; False if it does not wait here."""
        waiting = self._waiting.pop(request_id, None)
        if waiting is None:
            return False
        waiting.loading.job.cancel()
        return True

    def move(self) -> None:
        """Before a step: see Tiers.move."""
        if self.tiers is not None:
            self.tiers.move()

    def lost(self) -> None:
        """The device's cache is gone."""
        if self.tiers is not None:
            self.tiers.forget_moves()

    def idle(self) -> bool:
        """Save what there was no time for; whether there is more."""
        return self.tiers is not None and self.tiers.idle()

    def count(self, stats: EngineStats) -> None:
        """Put into the engine's numbers what the tiers hold; without tiers these are zeros already."""
        if self.tiers is None:
            return
        tiers = self.tiers.stats()
        stats.blocks_host, stats.blocks_disk = tiers.host_blocks, tiers.disk_blocks
        stats.total_saved_blocks = tiers.total_saved_blocks
        stats.total_restored_blocks = tiers.total_restored_blocks
        stats.total_disk_errors = tiers.total_disk_errors

    def close(self) -> None:
        for waiting in self._waiting.values():
            waiting.loading.job.cancel()
        if self.tiers is not None:
            self.tiers.close()
