"""An engine in a process of its own: HTTP work never steals a step, and its crash never takes the server along.

The two talk over a pair of sockets that only they hold: nothing to connect to, no path, no pickle. The engine process
ends when its end of the pair closes, so it cannot outlive the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dovetail.config import EngineConfig
from dovetail.errors import DeviceUnavailable, EngineStopped
from dovetail.logs import form_in_use
from dovetail.weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    from dovetail.plugins import Selection

from .connected import ConnectedClient
from .messages import (
    Command,
    Failed,
    Report,
    Start,
    Started,
    Stop,
    Unframer,
    frame,
    raised,
    reports,
)

STOP_TIMEOUT_S = 10.0

log = logging.getLogger("dovetail.engine")


class _Connection(asyncio.Protocol):
    """Turns what arrives from the engine process into reports."""

    def __init__(self) -> None:
        self._unframer = Unframer()
        self.started: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.client: ProcessClient | None = None

    def data_received(self, data: bytes) -> None:
        for message in self._unframer.feed(data):
            self._take(reports.decode(message))

    def _take(self, report: Report) -> None:
        if self.client is not None:
            self.client.take(report)
        elif isinstance(report, Started):
            self.started.set_result(report)
        elif isinstance(report, Failed) and not self.started.done():
            self.started.set_exception(raised(report))

    def connection_lost(self, exc: Exception | None) -> None:
        error = EngineStopped("the engine process ended" + (f": {exc}" if exc else ""))
        if not self.started.done():
            self.started.set_exception(error)
        if self.client is not None:
            self.client.lost(error)
        if not self.closed.done():
            self.closed.set_result(None)


class ProcessClient(ConnectedClient):
    """An EngineClient whose engine runs in a child process.

    platform  the one it was told to use, "name:device"
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        transport: asyncio.Transport,
        connection: _Connection,
        started: Started,
        config: EngineConfig,
    ) -> None:
        super().__init__(started.info, config)
        self.platform = config.platform
        self._process = process
        self._transport = transport
        self._connection = connection
        connection.client = self

    @property
    def pid(self) -> int:
        """The engine process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status of the process, minus the signal that ended it; None while it runs."""
        return self._process.poll()

    async def kill(self, reason: str) -> None:
        """End the process at once; its requests end with the reason, unless they have been told one."""
        self.lost(EngineStopped(f"{reason}; the engine is stopped"))
        self._process.kill()
        self._transport.close()
        await _reap(self._process)

    def _send(self, command: Command) -> None:
        if not self._transport.is_closing():
            self._transport.write(frame(command))

    async def close(self) -> None:
        if not self._connection.closed.done():
            self._send(Stop())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._connection.closed), STOP_TIMEOUT_S)
        self._transport.close()
        await _reap(self._process)
        self.lost(EngineStopped("the engine was stopped"))


@dataclass(frozen=True, slots=True)
class _Child:
    """An engine process that has not loaded anything yet, and our end of the line to it."""

    process: subprocess.Popen[bytes]
    transport: asyncio.Transport
    connection: _Connection

    @classmethod
    async def spawn(cls) -> _Child:
        ours, theirs = socket.socketpair()
        level = str(logging.getLogger("dovetail").getEffectiveLevel())
        words = ["-m", "dovetail.engine.worker", str(theirs.fileno()), level, form_in_use()]
        process = subprocess.Popen(
            [sys.executable, *words],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for the server, which decides when the engine ends
        )
        theirs.close()
        events = asyncio.get_running_loop()
        transport, connection = await events.create_connection(_Connection, sock=ours)
        return cls(process, transport, connection)

    async def load(self, config: EngineConfig, checkpoint: Checkpoint) -> ProcessClient:
        """Load the model; the process is ended again if that raises, with whatever it raises."""
        start = Start(config, str(checkpoint.directory), checkpoint.name)
        if not self.transport.is_closing():  # it may have ended while platforms were looked for
            self.transport.write(frame(start))
        try:
            started = await self.connection.started
        except BaseException:
            await self.stop()
            raise
        return ProcessClient(self.process, self.transport, self.connection, started, config)

    async def stop(self) -> None:
        self.connection.started.cancel()  # nobody asks any more how it went
        self.transport.close()
        await _reap(self.process)


async def start_process(config: EngineConfig, checkpoint: Checkpoint) -> ProcessClient:
    """Start the engine process and wait until it has loaded. Raises whatever loading raises.

    The platform is chosen here, once, and the engine process is told which. Where its device has gone by then and the
    user named none, the next best is tried, in a new process.
    """
    child = await _Child.spawn()  # it starts up while platforms are looked for
    try:
        offers = await asyncio.get_running_loop().run_in_executor(None, _offers, config)
    except BaseException:
        await child.stop()
        raise
    failures: list[DeviceUnavailable] = []
    for offer in offers:
        if failures:
            child = await _Child.spawn()
        try:
            client = await child.load(replace(config, platform=str(offer)), checkpoint)
        except DeviceUnavailable as error:
            log.warning("platform=%s unavailable reason=%r", offer, str(error))
            failures.append(error)
            continue
        client.info = replace(client.info, reason=offer.after(failures).reason)
        return client
    from dovetail.plugins import none_opened

    raise none_opened(failures)


def _offers(config: EngineConfig) -> list[Selection]:
    """The platforms to try. Imported here, while the engine process starts: NumPy comes with it."""
    from dovetail.plugins import choices

    return choices(
        config.platform,
        timeout_s=config.probe_timeout_s,
        members=config.tensor_parallel_size,
    )


async def _reap(process: subprocess.Popen[bytes]) -> None:
    events = asyncio.get_running_loop()
    try:
        await events.run_in_executor(None, process.wait, STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        await events.run_in_executor(None, process.wait)
