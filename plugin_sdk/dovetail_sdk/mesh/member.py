"""One member of a mesh: `python -m dovetail_sdk.mesh.member CONNECTION MEMORY`, two descriptors of the parent's.

It does what it is told in order. The first member sends what comes of it; the others say when they fail.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
from dataclasses import replace
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

import ml_dtypes
import numpy as np
from dovetail.errors import DeviceLost, PlatformError
from dovetail.graph import Graph
from dovetail.platform import Device, KVLayout, LoadedModel, Pending, Program, Shape

from .channel import Receiver, SharedMemory
from .remote import RemoteSource
from .wire import decode, encode

KEPT = 4
"""Steps whose Pending is kept: a step may be sampled until the next but one was run."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when we end
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    start = decode(connection.recv_bytes())
    memory = SharedMemory(int(sys.argv[2]), start["members"])
    member = Member(connection, memory, start)
    try:
        member.serve()
    except (EOFError, ConnectionError):
        return  # the parent is gone


class Member:
    """Calls what the parent asks for, on a device of its own."""

    def __init__(
        self, connection: Connection[Any, Any], memory: SharedMemory, start: dict[str, Any]
    ) -> None:
        self._connection, self._memory = connection, memory
        self.rank, self._start = int(start["rank"]), start
        self._receiver = Receiver(memory, connection, self.rank)
        self._sending = threading.Lock()
        self._answers: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
        self._device: Device | None = None
        self._models: dict[int, tuple[LoadedModel, Graph]] = {}
        self._programs: dict[int, Program] = {}
        self._pendings: dict[int, Pending] = {}

    def serve(self) -> None:
        """Until told to end, or until something fails in a step."""
        threading.Thread(target=self._answer, daemon=True).start()
        while True:
            number, name, arguments = self._receiver.receive()
            if name == "end":
                break
            try:
                value = getattr(self, f"do_{name}")(number, *arguments)
            except Exception as error:  # raised again by the parent
                self._send("error", number, _portable(error))
            else:
                if value is not None:
                    self._send("value", number, value)
            self._receiver.done()
        self._answers.put(None)
        for model, _ in self._models.values():
            model.close()
        if self._device is not None:
            self._device.close()

    def _send(self, *message: Any) -> None:
        with self._sending:
            self._connection.send_bytes(encode(message))

    def _answer(self) -> None:
        """Wait for steps and tickets, in the order in which they were issued, and send what they give."""
        while (item := self._answers.get()) is not None:
            number, wanted = item
            try:
                value = wanted()
            except Exception as error:  # raised again by the parent
                self._send("error", number, _portable(error))
            else:
                self._send("value", number, (value,))

    def _later(self, number: int, wanted: Any) -> None:
        if self.rank == 0:
            self._answers.put((number, wanted))

    # ------------------------------------------------------------------------------------------ what is asked for

    def do_open(self, number: int) -> Any:
        module, _, function = str(self._start["open"]).partition(":")
        arguments = self._start["arguments"][self.rank]
        self._device = getattr(import_module(module), function)(*arguments)
        return (self._device.capabilities,)

    def do_memory(self, number: int) -> Any:
        return (self._opened().memory(),)

    def do_supports(self, number: int, graph: Graph) -> Any:
        local = graph if graph.sharding is None else graph.local(self.rank)
        return (self._opened().supports(local) if self.rank == 0 else (),)

    def do_load(self, number: int, model: int, graph: Graph, planes: Any) -> Any:
        local = graph if graph.sharding is None else graph.local(self.rank)
        loaded = self._opened().load(local, RemoteSource(local, planes, self._ask))
        self._models[model] = (loaded, local)
        return (None,)

    def do_block_bytes(self, number: int, model: int, layout: KVLayout) -> Any:
        loaded, local = self._models[model]
        return (loaded.block_bytes(replace(layout, groups=local.cache)),)

    def do_workspace(self, number: int, model: int, shape: Shape) -> Any:
        return (self._models[model][0].workspace(shape),)

    def do_allocate(self, number: int, model: int, layout: KVLayout, blocks: Any) -> Any:
        loaded, local = self._models[model]
        self._pendings.clear()
        loaded.allocate(replace(layout, groups=local.cache), blocks)
        return (None,)

    def do_compile(self, number: int, model: int, program: int, shape: Shape) -> Any:
        self._programs[program] = self._models[model][0].compile(shape)
        return (None,)

    def do_copy_blocks(
        self, number: int, model: int, group: int, sources: Any, targets: Any
    ) -> None:
        self._models[model][0].copy_blocks(group, sources, targets)

    def do_close_model(self, number: int, model: int) -> Any:
        self._pendings.clear()
        loaded, _ = self._models.pop(model)
        loaded.close()
        return (None,)

    def do_run(self, number: int, program: int, step: int, batch: Any) -> None:
        pending = self._programs[program].run(batch)
        self._pendings[step] = pending
        for old in [other for other in self._pendings if other <= step - KEPT]:
            del self._pendings[old]
        self._later(number, pending.wait)

    def do_sample(self, number: int, step: int, rows: Any, columns: Any, late: Any) -> None:
        ticket = self._pendings[step].sample(rows, columns, late)
        self._later(number, ticket.result)

    def do_fetch(self, number: int, step: int, output: str, rows: Any) -> None:
        ticket = self._pendings[step].fetch(output, rows)
        self._later(number, ticket.result)

    def _opened(self) -> Device:
        assert self._device is not None
        return self._device

    def _ask(self, name: str, plane: str, first: int, end: int) -> Any:
        """Rows of a weight, in the member's part of the shared memory."""
        self._send("weight", self.rank, (name, plane, first, end))
        shape, dtype = decode(self._connection.recv_bytes())
        kind: np.dtype[Any] = np.dtype(getattr(ml_dtypes, dtype, dtype))
        return shape, kind, self._memory.piece(self.rank)


def _portable(error: Exception) -> Exception:
    """What the contract knows, as it is; anything else by its text."""
    if isinstance(error, PlatformError | ValueError):
        return type(error)(str(error))
    return DeviceLost(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
