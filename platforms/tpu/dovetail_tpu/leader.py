"""A mesh over several hosts, as the host that leads it sees it: every call that touches the device is told to the other hosts,
which make the same one on their own devices (`follow.py`), and is then made here. The core sees one Device."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from dovetail.errors import DeviceLost, PlatformError
from dovetail.graph import Graph
from dovetail.platform import (
    F32,
    I32,
    Batch,
    Device,
    KVLayout,
    LateEdits,
    LoadedModel,
    Memory,
    Pending,
    Program,
    SamplingColumns,
    Shape,
    Support,
    Ticket,
    Tokens,
    WeightSource,
)

from .channel import Channel
from .hosts import Hosts

A = TypeVar("A")
JOIN_S = 300.0
"""That the other hosts may take to come."""


class Followers:
    """The other hosts of the mesh."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = dict(channels)
        self.numbers = itertools.count()

    @classmethod
    def gathered(cls, hosts: Hosts, port: int) -> Followers:
        """Wait for each of them. Raises PlatformError that says which did not come, and how it does."""
        channels: dict[str, Channel] = {}
        try:
            with socket.create_server((hosts.names[0], port)) as server:
                server.settimeout(JOIN_S)
                while len(channels) < len(hosts.others):
                    connection, _ = server.accept()
                    connection.settimeout(None)
                    channel = Channel(connection)
                    channels[f"host {int(channel.receive())}"] = channel
        except OSError as error:
            missing = [place for place in hosts.others if f"host {place}" not in channels]
            raise PlatformError(
                f"hosts {missing} did not join at {hosts.names[0]}:{port} ({error}); run on each of them: "
                f"python -m dovetail_tpu.follow --port {port - 1}"
            ) from error
        return cls(channels)

    def tell(self, name: str, *arguments: Any) -> None:
        """A call that has no answer. Raises DeviceLost where one of them is gone."""
        for host, channel in self._channels.items():
            try:
                channel.send((name, arguments))
            except OSError as error:
                raise DeviceLost(f"{host} of the mesh has ended: {error}") from error

    def together(
        self, here: Callable[[], A], name: str, *arguments: Any, weights: WeightSource | None = None
    ) -> A:
        """A call that everyone makes, and that is over when everyone is ready; meanwhile they may ask for weights."""
        self.tell(name, *arguments)
        failed: list[str] = []
        threads = [
            threading.Thread(target=self._answer, args=(host, weights, failed), daemon=True)
            for host in self._channels
        ]
        for thread in threads:
            thread.start()
        made = here()
        for thread in threads:
            thread.join()
        if failed:
            raise DeviceLost("; ".join(failed))
        return made

    def _answer(self, host: str, weights: WeightSource | None, failed: list[str]) -> None:
        channel = self._channels[host]
        try:
            while (asked := channel.receive()) != ("ready",):
                kind, *what = asked
                if kind == "failed" or weights is None:
                    failed.append(f"{host} of the mesh: {what[0]}")
                    return
                name, plane, first, end = what
                part = np.ascontiguousarray(weights.read(name, plane, slice(first, end)))
                channel.send((part.shape, part.dtype.name, part.reshape(-1).view(np.uint8)))
        except (EOFError, OSError) as error:
            failed.append(f"{host} of the mesh has ended: {error}")

    def close(self) -> None:
        """They end when they see it."""
        for channel in self._channels.values():
            channel.close()


class LedDevice(Device):
    """The mesh; what it can do and what it has room for are this host's."""

    def __init__(self, own: Device, followers: Followers) -> None:
        self._own, self._followers = own, followers
        self.capabilities = own.capabilities

    def memory(self) -> Memory:
        return self._own.memory()

    def supports(self, graph: Graph) -> tuple[Support, ...]:
        return self._own.supports(graph)

    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        """Each host reads its devices' part of the weights from here."""
        number = next(self._followers.numbers)
        planes = {name: tuple(weights.planes(name)) for name in graph.weights}
        own = self._followers.together(
            lambda: self._own.load(graph, weights), "load", number, graph, planes, weights=weights
        )
        return LedModel(own, number, self._followers)

    def close(self) -> None:
        self._followers.close()
        self._own.close()


class LedModel(LoadedModel):
    """A model of which every host has a part."""

    def __init__(self, own: LoadedModel, number: int, followers: Followers) -> None:
        self._own, self._number, self._followers = own, number, followers

    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        return self._own.block_bytes(layout)

    def workspace(self, shape: Shape) -> int:
        return self._own.workspace(shape)

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._followers.together(
            lambda: self._own.allocate(layout, num_blocks),
            "allocate",
            self._number,
            layout,
            num_blocks,
        )

    def compile(self, shape: Shape) -> Program:
        number = next(self._followers.numbers)
        own = self._followers.together(
            lambda: self._own.compile(shape), "compile", self._number, number, shape
        )
        return LedProgram(own, number, self._followers)

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        self._followers.tell("copy_blocks", self._number, group, sources, targets)
        self._own.copy_blocks(group, sources, targets)

    def close(self) -> None:
        self._own.close()


class LedProgram(Program):
    """Issues the same step on every host."""

    def __init__(self, own: Program, number: int, followers: Followers) -> None:
        self.shape = own.shape
        self._own, self._number, self._followers = own, number, followers

    def run(self, batch: Batch) -> Pending:
        step = next(self._followers.numbers)
        self._followers.tell("run", self._number, step, batch)
        return LedPending(self._own.run(batch), step, self._followers)


class LedPending(Pending):
    """A step that every host has been told of, and launches when this one does."""

    def __init__(self, own: Pending, step: int, followers: Followers) -> None:
        self._own, self._step, self._followers = own, step, followers
        self._launched = False

    def _launch(self) -> None:
        if not self._launched:
            self._followers.tell("launch", self._step)
            self._launched = True

    def done(self) -> bool:
        self._launch()
        return self._own.done()

    def wait(self) -> None:
        self._launch()
        self._own.wait()

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        self._launched = True
        self._followers.tell("sample", self._step, rows, columns, late)
        return self._own.sample(rows, columns, late)

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        self._launched = True
        self._followers.tell("fetch", self._step, output, rows)
        return self._own.fetch(output, rows)
