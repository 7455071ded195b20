"""A mesh of processes as one device of the contract."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from dovetail.errors import DeviceLost
from dovetail.graph import Graph
from dovetail.platform import (
    F32,
    I32,
    Batch,
    Capabilities,
    Device,
    Feature,
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

from .processes import Processes
from .weights import LocalSource

A = TypeVar("A")
NO_TRANSFER = Feature(
    "block_transfer", "unsupported", "each member of a mesh has a part of every block"
)


class MeshDevice(Device):
    """Members that all get the same calls; the first one's results are everybody's.

    open       "module:function" -> a member's device, whose kernels hold the collectives
    arguments  of it, per member
    closing    called when the mesh has ended
    """

    def __init__(
        self,
        open: str,  # noqa: A002
        arguments: Sequence[tuple[Any, ...]],
        *,
        closing: Callable[[], None] = lambda: None,
    ) -> None:
        self._closing = closing
        self._processes = Processes(open, arguments)
        self._members = len(arguments)
        self._numbers = itertools.count()
        try:
            self.capabilities = of_mesh(self._processes.call("open")[0])
        except BaseException:
            self._processes.close(at_once=True)
            raise

    def memory(self) -> Memory:
        """Of the member with the least."""
        found: list[Memory] = self._processes.call("memory")
        return Memory(
            total=min(memory.total for memory in found),
            free=min(memory.free for memory in found),
            largest_allocation=min(memory.largest_allocation for memory in found),
            host=found[0].host,
        )

    def supports(self, graph: Graph) -> tuple[Support, ...]:
        """Asked of the first member, about its part of a graph that is divided."""
        answers: tuple[Support, ...] = self._processes.call("supports", graph)[0]
        return answers

    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        """Each member reads its part of the weights. ValueError for a graph that is divided for another mesh."""
        sharding = graph.sharding
        if sharding is None or sharding.members != self._members:
            raise ValueError(f"graph {graph.name} is not divided over {self._members} members")
        sources = {rank: LocalSource(graph, rank, weights) for rank in range(self._members)}
        planes = {name: tuple(weights.planes(name)) for name in graph.weights}
        number = next(self._numbers)
        self._processes.sources = dict(sources)
        try:
            self._processes.call("load", number, graph, planes)
        finally:
            self._processes.sources = {}
        return MeshModel(self._processes, number, self._numbers)

    def close(self) -> None:
        self._processes.close()
        self._closing()


def of_mesh(capabilities: Capabilities) -> Capabilities:
    """What a mesh can do, of what its members can."""
    others = [other for other in capabilities.features if other.name != NO_TRANSFER.name]
    return replace(capabilities, features=(*others, NO_TRANSFER))


class MeshModel(LoadedModel):
    """A model of which every member has a part."""

    def __init__(self, processes: Processes, number: int, numbers: itertools.count[int]) -> None:
        self._processes, self._number, self._numbers = processes, number, numbers
        self._closed = False

    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        """Of the member that needs most."""
        found = self._processes.call("block_bytes", self._number, layout)
        return tuple(int(size) for size in np.max(np.array(found, np.int64), axis=0))

    def workspace(self, shape: Shape) -> int:
        found: list[int] = self._processes.call("workspace", self._number, shape)
        return max(found)

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._processes.call("allocate", self._number, layout, num_blocks)

    def compile(self, shape: Shape) -> Program:
        number = next(self._numbers)
        self._processes.call("compile", self._number, number, shape)
        return MeshProgram(self._processes, number, self._numbers, shape)

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        self._processes.tell("copy_blocks", self._number, group, sources, targets)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._processes.call("close_model", self._number)
        except DeviceLost:
            return  # there is nothing left to give back


class MeshProgram(Program):
    """Issues the same step to every member."""

    def __init__(
        self, processes: Processes, number: int, numbers: itertools.count[int], shape: Shape
    ) -> None:
        self.shape = shape
        self._processes, self._number, self._numbers = processes, number, numbers

    def run(self, batch: Batch) -> Pending:
        """Returns when the members were told; what is wrong with the batch is raised by `wait`."""
        step = next(self._numbers)
        ended = self._processes.issue("run", self._number, step, batch)
        return MeshPending(self._processes, step, ended, batch.outputs.size)


class MeshPending(Pending):
    """A step in flight on every member."""

    def __init__(self, processes: Processes, step: int, ended: Future[Any], outputs: int) -> None:
        self._processes, self._step, self._ended = processes, step, ended

    def done(self) -> bool:
        return self._ended.done()

    def wait(self) -> None:
        self._ended.result()

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        """Drawn by every member alike, from the same logits."""
        return Answer(self._processes.issue("sample", self._step, rows, columns, late))

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        return Answer(self._processes.issue("fetch", self._step, output, rows))


class Answer(Ticket[A]):
    """What the first member will send."""

    def __init__(self, future: Future[A]) -> None:
        self._future = future

    def done(self) -> bool:
        return self._future.done()

    def result(self) -> A:
        return self._future.result()
