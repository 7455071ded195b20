"""When the machine stood still: laptops sleep, virtual machines are paused, and jobs are stopped for measurements.

Every limit in seconds is broken by that, in the servers and here; what was under way is then not judged by its time or its end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

TICK_S = 0.1
PAUSE_S = 1.0
"""The clock ran on for so long, beside what this process computed: nobody let it run."""


class Pauses:
    """Intervals of time.monotonic() in which this process did not run though it wanted to.

    then  what is to be done when one has been found, told when it began
    """

    def __init__(self, then: Callable[[float], Coroutine[None, None, None]]) -> None:
        self._found: list[tuple[float, float]] = []
        self._then = then

    def __len__(self) -> int:
        return len(self._found)

    @property
    def seconds(self) -> float:
        """Of all together."""
        return sum(end - start for start, end in self._found)

    def note(self, before: tuple[float, float], now: tuple[float, float]) -> bool:
        """Two looks, a tick apart, at (time.monotonic(), time.process_time()); whether a pause lay in between."""
        stood = now[0] - before[0] - (now[1] - before[1]) - TICK_S
        if stood > PAUSE_S:
            self._found.append((before[0], now[0]))
        return stood > PAUSE_S

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at the clock as long as this is open."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch(tasks))
            yield
            watching.cancel()

    async def _watch(self, tasks: asyncio.TaskGroup) -> None:
        before = time.monotonic(), time.process_time()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic(), time.process_time()
            if self.note(before, now):
                tasks.create_task(self._then(before[0]))
            before = now
