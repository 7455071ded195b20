"""A device, its models and its steps: the kernel-table runner with everything kept on the device.

Tokens of slots, sampling and the results of a step stay there, and the host waits only where a result is asked for: a step
is issued while the one before is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

import numpy as np
from dovetail.errors import DeviceLost, PlatformError
from dovetail.graph import Graph
from dovetail.platform import (
    F32,
    I32,
    Batch,
    Capabilities,
    LateEdits,
    LoadedModel,
    Pending,
    Program,
    SamplingColumns,
    Shape,
    Ticket,
    Tokens,
    WeightSource,
)
from numpy.typing import NDArray

from dovetail_sdk.batches import Cache, check_batch, check_columns, check_sampled
from dovetail_sdk.runner import Event, Kernel, KernelDevice, KernelModel, Step
from dovetail_sdk.runner.call import Call, run_graph
from dovetail_sdk.runner.state import GraphState

from .array import Array, temporary
from .backend import OpenclBackend
from .programs import SOURCE
from .sampler import DeviceSampler, Registers
from .transfer import BlocksTicket, Reading, ReadingTicket

STEPS_IN_FLIGHT = 2


class OpenclDevice(KernelDevice):
    """Runs graphs on a table of kernels that issue to the backend's queue."""

    def __init__(
        self, backend: OpenclBackend, kernels: Mapping[str, Kernel], capabilities: Capabilities
    ) -> None:
        super().__init__(backend, kernels, capabilities)
        self._opencl = backend

    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        """Every kernel packs its weights and builds what it will call. Raises OutOfMemory or PlatformBroken."""
        try:
            model = super().load(graph, weights)
        except self._opencl.machine.cl.Error as error:
            raise PlatformError(f"the weights of {graph.name} cannot be loaded: {error}") from error
        self._opencl.machine.finish()
        return model

    def _model(self, graph: Graph, steps: list[Call]) -> LoadedModel:
        return OpenclModel(OpenclState(GraphState(graph, steps, self._opencl), self._opencl))

    def close(self) -> None:
        """Wait for what is issued; memory goes with the last array."""
        self._opencl.machine.queue.finish()


class OpenclState:
    """What a loaded model and its programs share beyond the runner's state."""

    def __init__(self, state: GraphState, backend: OpenclBackend) -> None:
        self.runner = state
        self.backend = backend
        self.registers = Registers(backend)
        self.sampler = DeviceSampler(backend, state.vocab_size)
        self.issuing = Lock()


class OpenclModel(KernelModel):
    """The runner's model; compiling runs steps on the scrap block, so that a first step pays for nothing."""

    def __init__(self, state: OpenclState) -> None:
        super().__init__(state.runner, checked=False)
        self._opencl = state

    def compile(self, shape: Shape) -> Program:
        program = OpenclProgram(self._opencl, shape)
        if self._state.paged is not None:
            with self._opencl.issuing:
                for batch in warming(self._state, shape):
                    program._issue(batch)
            self._opencl.backend.machine.finish()
        return program

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        """See BlockTransfer."""
        self._blocks("read_blocks", group, blocks)
        arrays = self._state.cache().group_arrays(group)
        return BlocksTicket(out, [self._opencl.backend.taking(array, blocks) for array in arrays])


class OpenclProgram(Program):
    """Issues a step's kernels one after the other and waits for none of them."""

    def __init__(self, state: OpenclState, shape: Shape) -> None:
        self.shape = shape
        self._state = state

    def run(self, batch: Batch) -> Pending:
        """Raises ValueError, naming what is wrong, for a step that no engine may issue."""
        state = self._state.runner
        cache = state.cache()
        layout = cache.layout
        check_batch(batch, self.shape, Cache(layout.block_size, cache.num_blocks, layout.groups))
        check_columns(batch, state.graph.inputs)
        state.calls.check_tokens(batch.tokens)
        with self._state.issuing:
            results, event = self._issue(batch)
        state.calls.runs += 1
        return OpenclPending(self._state, results, batch.outputs.size, event)

    def _issue(self, batch: Batch) -> tuple[dict[str, Array], Event]:
        """Everything of a step but its sampling."""
        state, backend = self._state.runner, self._state.backend
        cache = state.cache()
        for group, copies in enumerate(batch.copies):
            cache.copy(group, copies[:, 0], copies[:, 1])
        step = Step.of(batch, cache.layout.block_size)
        given = {
            "positions": batch.positions,
            "outputs": batch.outputs,
            "row_starts": batch.row_starts,
            "token_types": batch.token_types,
        }
        inputs = {
            name: backend.upload(array)
            for name, array in given.items()
            if array is not None and name in state.graph.inputs
        }
        if "row_starts" in inputs:  # the host's copy, for kernels that are cut by rows
            inputs["row_starts"].made["host"] = batch.row_starts.copy()
        inputs["tokens"] = self._state.registers.resolve(batch.tokens)
        try:
            results = run_graph(state.graph, state.steps, inputs, cache, step, backend)
            return results, backend.machine.event()
        except backend.machine.cl.Error as error:
            raise DeviceLost(f"a step could not be issued: {error}") from error


class OpenclPending(Pending):
    """A step that was issued."""

    def __init__(
        self, state: OpenclState, results: dict[str, Array], outputs: int, event: Event
    ) -> None:
        self._state = state
        self._results = results
        self._outputs = outputs
        self._event = event
        self._run = state.runner.calls.runs

    def done(self) -> bool:
        return self._event.done()

    def wait(self) -> None:
        self._event.wait()

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        """On the device; the ticket waits."""
        state = self._state
        check_sampled(rows, self._outputs)
        state.runner.calls.check_sample(self._run)
        with state.issuing:
            ticket = state.sampler.sample(
                self._output("logits"), rows, columns, late, state.registers
            )
        state.runner.calls.sampled(columns.slot)
        return ticket

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        check_sampled(rows, self._outputs)
        self._state.runner.calls.check_fetch(self._run)
        array, backend = self._output(output), self._state.backend
        with self._state.issuing:
            found = temporary(backend.machine, (rows.size, array.width), "f32")
            function = backend.programs.function(
                SOURCE / "rows.cl", "fetched_rows", "biiibb", VALUE=array.dtype
            )
            places = backend.upload(rows)
            function(
                (rows.size,),
                (16,),
                *(array.buffer, array.at, array.step, array.width, places.buffer, found.buffer),
            )
            return ReadingTicket(Reading(backend.machine, found))

    def _output(self, name: str) -> Array:
        if name not in self._results:
            raise ValueError(f"the graph has no output {name!r}; it has {sorted(self._results)}")
        return self._results[name]


def warming(state: GraphState, shape: Shape) -> list[Batch]:
    """Steps that write to the scrap block alone: one token, some, and as many as take other kernels."""
    size = state.cache().layout.block_size
    longest = min(shape.tokens, size * shape.blocks) if state.graph.cache else shape.tokens
    return [
        _scrap(state, min(count, longest)) for count in (1, 3, 33) if count <= longest or count == 1
    ]


def _scrap(state: GraphState, count: int) -> Batch:
    """One row of so many tokens in block 0."""
    blocks = -(-count // state.cache().layout.block_size)
    groups = len(state.cache().layout.groups)
    planes = state.graph.values["positions"].shape[0] if "positions" in state.graph.values else 1
    return Batch(
        tokens=np.zeros(count, np.int32),
        positions=np.zeros((planes if isinstance(planes, int) else 1, count), np.int32),
        row_starts=np.array([0, count], np.int32),
        slots=np.ones(1, np.int32),
        past=np.zeros(1, np.int32),
        tables=(np.zeros((1, blocks), np.int32),) * groups,
        copies=(np.zeros((0, 2), np.int32),) * groups,
        outputs=np.array([count - 1], np.int32),
        token_types=np.zeros(count, np.int32),
    )
