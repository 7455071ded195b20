"""Running a graph node by node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from dovetail.graph import Graph, Node
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
from numpy.typing import NDArray

from dovetail_sdk.batches import Cache, check_batch, check_sampled

from .cache import PagedCache, Step
from .ops import CACHED, OPS

if TYPE_CHECKING:
    from .platform import ReferenceModel

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A node, ready to be called.

    dead  values that nothing reads after it
    """

    node: Node
    function: Callable[..., Any]
    arguments: dict[str, Any]
    dead: tuple[str, ...]


def calls(graph: Graph, weights: dict[str, F32]) -> list[Call]:
    """The nodes in order with their weights and attributes, and when values may be dropped."""
    last = {name: node.name for node in graph.nodes for name in node.inputs}
    kept = {*graph.inputs, *graph.outputs.values()}
    made = []
    for node in graph.nodes:
        arguments = {role: weights[name] for role, name in node.weights.items()}
        dead = (name for name in {*node.inputs, *node.outputs} - kept)
        dead_here = tuple(name for name in dead if last.get(name, node.name) == node.name)
        made.append(Call(node, OPS[node.op], arguments | dict(node.attributes), dead_here))
    return made


def round_to(array: Array, dtype: str) -> Array:
    """f32 numbers rounded to the nearest of another type, still as f32."""
    if dtype == "f32" or array.dtype != np.float32:
        return array
    kind = ml_dtypes.bfloat16 if dtype == "bf16" else np.float16
    return array.astype(kind).astype(np.float32)


def run_graph(
    graph: Graph, steps: list[Call], inputs: dict[str, Array], cache: PagedCache, step: Step
) -> dict[str, Array]:
    """Values of the graph's outputs by the name of the output.

    inputs  tokens [T], positions [P, T], outputs [N], all i32
    """
    values = {name: inputs[name] for name in graph.inputs}
    for call in steps:
        node, extra = call.node, {}
        if node.op in CACHED:
            assert node.layer is not None
            extra = {"cache": cache.layer(node.layer), "step": step}
        result = call.function(*(values[name] for name in node.inputs), **call.arguments, **extra)
        for name, value in zip(
            node.outputs, result if isinstance(result, tuple) else (result,), strict=True
        ):
            values[name] = round_to(value, graph.dtype)
        for name in call.dead:
            del values[name]
    return {output: values[name] for output, name in graph.outputs.items()}


class ReferenceProgram(Program):
    """Computes a step before `run` returns."""

    def __init__(self, model: ReferenceModel, shape: Shape) -> None:
        self.shape = shape
        self._model = model

    def run(self, batch: Batch) -> Pending:
        """Raises ValueError, naming what is wrong, for a step that no engine may issue."""
        model = self._model
        cache = model.cache()
        layout = cache.layout
        check_batch(batch, self.shape, Cache(layout.block_size, cache.num_blocks, layout.groups))
        model.calls.check_tokens(batch.tokens)
        tokens = model.registers.resolve(batch.tokens)
        for group, copies in enumerate(batch.copies):
            cache.copy(group, copies[:, 0], copies[:, 1])
        step = Step.of(batch, layout.block_size)
        cache.begin(step)
        inputs = {"tokens": tokens, "positions": batch.positions, "outputs": batch.outputs}
        with np.errstate(all="ignore"):
            results = run_graph(model.graph, model.steps, inputs, cache, step)
        model.calls.runs += 1
        return ReferencePending(model, results, batch.outputs.size)


class ReferencePending(Pending):
    """A step that has run."""

    def __init__(self, model: ReferenceModel, results: dict[str, Array], outputs: int) -> None:
        self._model = model
        self._results = results
        self._outputs = outputs
        self._run = model.calls.runs

    def done(self) -> bool:
        return True

    def wait(self) -> None:
        pass

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        model = self._model
        check_sampled(rows, self._outputs)
        model.calls.check_sample(self._run)
        tokens = model.sampler.sample(self._output("logits"), rows, columns, late)
        model.registers.write(columns.slot, tokens.ids)
        model.calls.sampled(columns.slot)
        return Ready(tokens)

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        check_sampled(rows, self._outputs)
        self._model.calls.check_fetch(self._run)
        return Ready(np.ascontiguousarray(self._output(output)[rows], np.float32))

    def _output(self, name: str) -> F32:
        if name not in self._results:
            raise ValueError(f"the graph has no output {name!r}; it has {sorted(self._results)}")
        return self._results[name]
