"""An engine process that is watched, and started again when it has died or hangs.

A life that delivered something was worth starting: the next one begins at once. Lives in a row that deliver nothing, or end
while they are started, are followed after 1, 2, 4 ... seconds, and at last not any more: then the server ends and whoever runs
it decides. It also ends where a start says why it cannot be.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from dovetail.config import EngineConfig
from dovetail.errors import DovetailError, EngineStopped, Overloaded
from dovetail.request import Request
from dovetail.weights.checkpoint import Checkpoint

from .client import EngineStats, Stream
from .process import ProcessClient, start_process

LONGEST_PAUSE_S = 30.0
LOOK_S = 0.25
log = logging.getLogger("dovetail.engine")
Start = Callable[[EngineConfig], Awaitable[ProcessClient]]


class SupervisedClient:
    """An EngineClient over one engine process after another. Used on the event loop only.

    info      of the first one; those that follow are told to be like it
    restarts  how often a process was started again
    """

    def __init__(self, first: ProcessClient, config: EngineConfig, start: Start) -> None:
        self.info = first.info
        self.restarts = 0
        self._client = first
        self._config = config
        self._start = start
        self._fruitless = 0
        self._ended: EngineStopped | None = None
        self._closing = False
        self._watching = asyncio.create_task(self._watch())

    async def submit(self, request: Request) -> Stream:
        """Queue a request. Raises as the engine does, and EngineStopped while it is being started again."""
        if self._ended is not None:
            raise self._ended
        if not self._client.healthy():
            raise EngineStopped("the engine is being started again; try again in a moment")
        return await self._client.submit(request)

    async def stats(self) -> EngineStats:
        """As of the last step; zeros while no engine runs."""
        if not self._client.healthy():
            return EngineStats(total_restarts=self.restarts)
        stats = await self._client.stats()
        return replace(stats, total_restarts=self.restarts, pid=self._client.pid)

    def closed(self) -> Overloaded | None:
        """What any request is refused with now."""
        return self._client.closed()

    def healthy(self) -> bool:
        """Whether the engine can take requests."""
        return self._client.healthy()

    def ended(self) -> bool:
        """Whether it will never take requests again."""
        return self._ended is not None

    async def close(self) -> None:
        """Stop the engine, and the watch over it."""
        self._closing = True
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
        await self._client.close()

    async def _watch(self) -> None:
        """Until it will not be started again; a mistake of the watch's own must not leave a server without an engine."""
        try:
            while self._ended is None:
                await self._look()
        except Exception as error:
            log.exception("engine=unwatched")
            self._end(f"the watch over the engine failed: {error!r}, and it is not started again")

    async def _look(self) -> None:
        if not self._client.healthy():
            await self._again()
        elif self._hangs():
            log.error("engine=hangs step_timeout_s=%g", self._config.step_timeout_s)
            await self._client.kill(f"a step took more than {self._config.step_timeout_s:g} s")
            return
        await self._client.wait_lost(LOOK_S)

    def _hangs(self) -> bool:
        limit = self._config.step_timeout_s
        return limit > 0 and self._client.silent_s() > limit

    async def _again(self) -> None:
        """Bury the process and start another, after a pause if it did nothing for anybody."""
        dead = self._client
        await dead.kill("the engine process ended")
        self._fruitless = 0 if dead.delivered else self._fruitless + 1
        how = f"the engine ended (status {dead.status})"
        while self._client is dead:
            if self._fruitless > self._config.max_restarts or self._config.max_restarts == 0:
                return self._end(f"{how} and is not started again")
            pause_s = min(LONGEST_PAUSE_S, 2.0 ** (self._fruitless - 1)) if self._fruitless else 0.0
            log.error("engine=ended status=%s restart_in_s=%g", dead.status, pause_s)
            await asyncio.sleep(pause_s)
            try:
                self._client = await self._start(self._like_before())
            except EngineStopped:  # without a word, as if killed: a life in vain
                self._fruitless += 1
                how = "the engine ended while it was started"
            except DovetailError as error:
                return self._end(f"the engine cannot be started again: {error}")
        self.restarts += 1
        log.warning("engine=restarted restarts=%d", self.restarts)

    def _end(self, reason: str) -> None:
        log.error("engine=gone reason=%r", reason)
        self._ended = EngineStopped(reason)

    def _like_before(self) -> EngineConfig:
        """The settings, with what was decided at the first start: clients have been told."""
        return replace(
            self._config,
            platform=self._client.platform,
            max_model_len=None if self.info.whole else self.info.max_model_len,
        )


async def start_supervised(config: EngineConfig, checkpoint: Checkpoint) -> SupervisedClient:
    """Start an engine process and watch it. Raises whatever loading raises, the first time."""

    async def start(again: EngineConfig) -> ProcessClient:
        return await start_process(again, checkpoint)

    return SupervisedClient(await start(config), config, start)
