"""An engine on a thread of this process: for the library's async API, and for tests of the server."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading

from dovetail.config import EngineConfig
from dovetail.errors import EngineStopped
from dovetail.weights.checkpoint import Checkpoint

from . import loop
from .connected import ConnectedClient
from .driven import Driven
from .load import load_engine
from .messages import Command, Report, Stop, failure

log = logging.getLogger("dovetail.engine")


class _QueuePort:
    """Commands through a queue, reports onto the event loop."""

    def __init__(self, client: LocalClient, events: asyncio.AbstractEventLoop) -> None:
        self.inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._client = client
        self._events = events

    def receive(self, *, block: bool) -> list[Command]:
        commands = [self.inbox.get()] if block else []
        while not self.inbox.empty():
            commands.append(self.inbox.get_nowait())
        return commands

    def send(self, report: Report) -> None:
        if not self._events.is_closed():
            self._events.call_soon_threadsafe(self._client.take, report)


class LocalClient(ConnectedClient):
    """An EngineClient whose engine runs on a thread here."""

    def __init__(self, engine: Driven, config: EngineConfig) -> None:
        super().__init__(engine.info, config)
        self._port = _QueuePort(self, asyncio.get_running_loop())
        self._thread = threading.Thread(
            target=self._run, args=(engine,), name="dovetail-engine", daemon=True
        )
        self._thread.start()

    def _run(self, engine: Driven) -> None:
        try:
            loop.run(engine, self._port)
        except Exception as error:  # told to every request; the server reports itself unhealthy
            log.exception("engine=failed")
            self._port.send(failure(error))
        finally:
            engine.close()

    def _send(self, command: Command) -> None:
        self._port.inbox.put(command)

    async def close(self) -> None:
        if self._thread.is_alive():
            self._send(Stop())
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        await asyncio.sleep(0)  # the last report is on its way through the event loop
        self.lost(EngineStopped("the engine was stopped"))


async def start_local(config: EngineConfig, checkpoint: Checkpoint) -> LocalClient:
    """Load an engine and run it on a thread. Raises whatever loading raises."""
    events = asyncio.get_running_loop()
    engine = await events.run_in_executor(None, load_engine, config, checkpoint)
    return LocalClient(engine, config)
