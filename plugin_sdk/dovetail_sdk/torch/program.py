"""Issuing steps on a torch device, and what comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from dovetail.platform import (
    F32,
    I32,
    Batch,
    LateEdits,
    Pending,
    Program,
    SamplingColumns,
    Shape,
    Ticket,
    Tokens,
)
from torch import Tensor

from dovetail_sdk.batches import check_sampled
from dovetail_sdk.runner import Event
from dovetail_sdk.runner.call import run_graph
from dovetail_sdk.runner.state import output_of

from .capture import Captured, buckets
from .inputs import BucketInputs, Given, eager, one_each
from .queue import Queue, device_errors
from .state import TorchState


class TorchProgram(Program):
    """Launches a step's kernels, or what was captured for its bucket; returns before they have run."""

    def __init__(self, state: TorchState, shape: Shape) -> None:
        self.shape = shape
        self._state = state
        self._captured: dict[int, _Bucket] = {}
        if state.capture is not None and state.graph.chunkable and state.graph.cache:
            for rows in reversed(buckets(min(shape.rows, state.most_captured))):
                self._captured[rows] = _Bucket(state, rows, shape.blocks)

    def run(self, batch: Batch) -> Pending:
        """Raises ValueError, naming what is wrong, for a step that no engine may issue."""
        state = self._state
        state.checked(batch, self.shape)
        with state.lock, torch.inference_mode(), device_errors():
            state.registers.reserve(np.minimum(batch.tokens, -1))
            for group, copies in enumerate(batch.copies):
                state.copy_blocks(group, copies[:, 0], copies[:, 1])
            results = self._launch(batch)
            event = state.backend.queue.record()
        state.calls.runs += 1
        return TorchPending(state, results, batch.outputs.size, event)

    def _launch(self, batch: Batch) -> dict[str, Tensor]:
        """Outputs of the graph, in arrays that no later step writes to."""
        state = self._state
        if self._captured and one_each(batch):
            for rows in sorted(self._captured):
                if rows >= batch.slots.size:
                    return self._captured[rows].run(batch)
        given = eager(batch, state.cache().layout.block_size, state.staging, state.registers)
        return dict(computed(state, given))


def computed(state: TorchState, given: Given) -> Mapping[str, Tensor]:
    """The graph's outputs, logits as f32."""
    inputs = {name: given.inputs[name] for name in state.graph.inputs}
    results = run_graph(state.graph, state.steps, inputs, state.cache(), given.step, state.backend)
    return {name: result.float() for name, result in results.items()}


class _Bucket:
    """The captured steps of one number of rows; captured anew where its arrays have moved."""

    def __init__(self, state: TorchState, rows: int, blocks: int) -> None:
        planes = int(state.graph.values["positions"].shape[0]) if _planes(state) else 1
        groups, size = len(state.graph.cache), state.cache().layout.block_size
        self._state = state
        self._inputs = BucketInputs(rows, blocks, planes, groups, size, state.backend.device)
        self._captured = self._capture()

    def run(self, batch: Batch) -> dict[str, Tensor]:
        if self._made_for != self._marks():
            self._captured = self._capture()
        self._inputs.fill(batch, self._state.staging)
        self._captured.launch()
        count = batch.slots.size
        return {name: output[:count].clone() for name, output in self._captured.outputs.items()}

    def _capture(self) -> Captured:
        state = self._state
        assert state.capture is not None
        self._made_for = self._marks()
        with state.lock, torch.inference_mode():
            return state.capture.capture(
                lambda: computed(state, self._inputs.given(state.registers))
            )

    def _marks(self) -> tuple[object, ...]:
        """What else the captured work reads: the registers, which may grow, and the cache, which may be made anew."""
        return self._state.registers.tokens, self._state.paged


def _planes(state: TorchState) -> bool:
    value = state.graph.values.get("positions")
    return value is not None and isinstance(value.shape[0], int)


class TorchPending(Pending):
    """A step that was issued."""

    def __init__(
        self, state: TorchState, results: dict[str, Tensor], outputs: int, event: Event
    ) -> None:
        self._state, self._results, self._outputs = state, results, outputs
        self._event, self._run = event, state.calls.runs

    def done(self) -> bool:
        return self._event.done()

    def wait(self) -> None:
        self._event.wait()

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        """On the device, behind everything issued so far."""
        state = self._state
        check_sampled(rows, self._outputs)
        state.calls.check_sample(self._run)
        with state.lock, torch.inference_mode(), device_errors():
            logits = output_of(self._results, "logits")
            ticket = state.sampler.sample(logits, rows, columns, late, state.registers)
        state.calls.sampled(columns.slot)
        return ticket

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        check_sampled(rows, self._outputs)
        state = self._state
        state.calls.check_fetch(self._run)
        with state.lock, torch.inference_mode(), device_errors():
            wanted = output_of(self._results, output).index_select(0, state.staging.send([rows])[0])
            return fetched(wanted, state.backend.queue)


def fetched(array: Tensor, queue: Queue) -> Ticket[F32]:
    """Numbers on their way to the host."""
    host = torch.empty(array.shape, dtype=torch.float32, pin_memory=queue.pinned)
    host.copy_(array, non_blocking=True)
    return FetchedNumbers(host, queue.record())


@dataclass(slots=True)
class FetchedNumbers(Ticket[F32]):
    """The array belongs to the caller once it is there."""

    host: Tensor
    event: Event

    def done(self) -> bool:
        return self.event.done()

    def result(self) -> F32:
        self.event.wait()
        return self.host.numpy()
