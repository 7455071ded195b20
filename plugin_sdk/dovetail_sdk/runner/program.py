"""Issuing steps, and what came of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from dovetail.platform import (
    F32,
    I32,
    Batch,
    LateEdits,
    Pending,
    Program,
    Ready,
    SamplingColumns,
    Shape,
    Ticket,
    Tokens,
)

from dovetail_sdk.batches import check_sampled

from .backend import Array, Event
from .cache import Step
from .call import run_graph
from .state import ModelState, output_of


class KernelProgram(Program):
    """Issues a step's kernels one after the other."""

    def __init__(self, state: ModelState, shape: Shape) -> None:
        self.shape = shape
        self._state = state

    def run(self, batch: Batch) -> Pending:
        """Raises ValueError, naming what is wrong, for a step that no engine may issue."""
        state = self._state
        cache, backend = state.checked(batch, self.shape), state.backend
        tokens = state.registers.resolve(batch.tokens)
        for group, copies in enumerate(batch.copies):
            cache.copy(group, copies[:, 0], copies[:, 1])
        step = Step.of(batch, cache.layout.block_size)
        cache.begin(step)
        given: dict[str, Any] = {
            "tokens": tokens,
            "positions": batch.positions,
            "outputs": batch.outputs,
            "row_starts": batch.row_starts,
            "token_types": batch.token_types,
        }
        inputs = {name: backend.upload(given[name]) for name in state.graph.inputs}
        with np.errstate(all="ignore"):
            results = run_graph(state.graph, state.steps, inputs, cache, step, backend)
        event = backend.launch([*results.values(), *cache.arrays()])
        state.calls.runs += 1
        return KernelPending(state, results, batch.outputs.size, event)


class KernelPending(Pending):
    """A step whose kernels were all called."""

    def __init__(
        self, state: ModelState, results: dict[str, Array], outputs: int, event: Event
    ) -> None:
        self._state = state
        self._results = results
        self._outputs = outputs
        self._event = event
        self._on_host: dict[str, F32] = {}
        self._run = state.calls.runs

    def done(self) -> bool:
        return self._event.done()

    def wait(self) -> None:
        self._event.wait()

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        """On the host, before it returns."""
        state = self._state
        check_sampled(rows, self._outputs)
        state.calls.check_sample(self._run)
        tokens = state.sampler.sample(self._output("logits"), rows, columns, late)
        state.registers.write(columns.slot, tokens.ids)
        state.calls.sampled(columns.slot)
        return Ready(tokens)

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        check_sampled(rows, self._outputs)
        self._state.calls.check_fetch(self._run)
        return Ready(np.ascontiguousarray(self._output(output)[rows]))

    def _output(self, name: str) -> F32:
        """An output as f32 on the host, downloaded once."""
        if name not in self._on_host:
            array = self._state.backend.download(output_of(self._results, name))
            self._on_host[name] = np.asarray(array, np.float32)
        return self._on_host[name]
