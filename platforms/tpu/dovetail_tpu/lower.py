"""Graph -> one function of arrays that JAX traces: layers that are alike run in a loop over their stacked weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from dovetail.graph import Graph, Node
from jax import lax

from .buckets import Bucket
from .layers import Run, find_run, sources
from .ops import CACHED, OPS
from .trace import DTYPES, Array, Layer, Loaded, Planes, Settings, Step

BATCH = {"tokens": "tokens", "positions": "positions", "outputs": "outputs"}
"""Inputs of a graph -> arrays of the feed; the others have the same name in both."""

Params = Mapping[str, Planes]
"""Planes of every weight, those of a run's repeats stacked [repeats, ...] under the name of the first."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A graph and its run, ready to be traced for any bucket."""

    graph: Graph
    run: Run | None

    @classmethod
    def of(cls, graph: Graph) -> Lowered:
        return cls(graph, find_run(graph))

    def stacks(self) -> Mapping[str, tuple[str, ...]]:
        """Name in the params -> names of the weights that are stacked there, one for each repeat."""
        return {} if self.run is None else {names[0]: names for names in self.run.weights.values()}

    def trace(
        self,
        settings: Settings,
        bucket: Bucket,
        params: Params,
        caches: Sequence[Array],
        feed: dict[str, Array],
    ) -> tuple[dict[str, Array], list[Array]]:
        """Outputs by name, in f32, and the caches after the step; feed as format_of says, tokens resolved."""
        step = Step(settings, bucket, feed, list(caches))
        walk = _Walk(self, step, params)
        values = walk.all()
        outputs = {
            name: values[value].astype(jnp.float32) for name, value in self.graph.outputs.items()
        }
        return outputs, step.caches


class _Walk:
    """One walk over the nodes."""

    def __init__(self, lowered: Lowered, step: Step, params: Params) -> None:
        self.graph, self.run = lowered.graph, lowered.run
        self.step, self.params = step, params
        self.dtype = DTYPES[self.graph.dtype]
        self.values: dict[str, Array] = {
            name: step.feed[BATCH.get(name, name)] for name in self.graph.inputs
        }
        self.made: list[tuple[Array, ...]] = []

    def all(self) -> dict[str, Array]:
        """Every value that is not inside the run."""
        run = self.run
        self._plain(0, run.start if run else len(self.graph.nodes))
        if run is not None:
            self._loop(run)
            self._plain(run.end, len(self.graph.nodes))
        return self.values

    def _plain(self, start: int, end: int) -> None:
        for node in self.graph.nodes[start:end]:
            weights = {
                role: self._weight(name, self.params[name]) for role, name in node.weights.items()
            }
            made = self._node(node, [self.values[name] for name in node.inputs], weights, None)
            self.values.update(zip(node.outputs, made, strict=True))

    def _weight(self, name: str, planes: Planes) -> Loaded:
        return Loaded(self.graph.weights[name].form, planes)

    def _node(
        self,
        node: Node,
        inputs: Sequence[Array],
        weights: Mapping[str, Loaded],
        layer: Layer | None,
    ) -> tuple[Array, ...]:
        more: dict[str, Any] = {**weights, **node.attributes}
        if node.op in CACHED:
            assert node.layer is not None
            group = self.graph.group_of(node.layer)
            place = self.graph.cache[group].layers.index(node.layer)
            more["layer"] = layer or Layer(group, place)
        made = OPS[node.op](self.step, *inputs, **more, dtype=self.dtype)
        return made if isinstance(made, tuple) else (made,)

    def _loop(self, run: Run) -> None:
        """The run as a loop: what is carried are values of the repeat before, and the caches."""
        producers = {
            name: (index, place)
            for index, node in enumerate(self.graph.nodes)
            for place, name in enumerate(node.outputs)
        }
        wanted = [sources(self.graph, run.start + at, producers) for at in range(run.period)]
        nodes = self.graph.nodes[run.start : run.start + run.period]
        stacked = [self.params[names[0]] for names in run.weights.values()]

        def body(
            carry: tuple[tuple[Array, ...], tuple[Array, ...]], xs: tuple[Array, list[Planes]]
        ) -> tuple[tuple[tuple[Array, ...], tuple[Array, ...]], None]:
            before = dict(zip(run.carried, carry[0], strict=True))
            self.step.caches = list(carry[1])
            index, planes = xs
            own = dict(zip(run.weights, planes, strict=True))
            made: list[tuple[Array, ...]] = []
            for at, node in enumerate(nodes):
                inputs = [self._input(source, at, made, before, run) for source in wanted[at]]
                weights = {
                    role: self._weight(name, own[at, role]) for role, name in node.weights.items()
                }
                layer = None
                if at in run.layers:
                    group, first, stride = run.layers[at]
                    layer = Layer(group, first + stride * index)
                made.append(self._node(node, inputs, weights, layer))
            return (
                tuple(made[at][place] for at, place in run.carried),
                tuple(self.step.caches),
            ), None

        first = (
            tuple(self._start(run, at, place) for at, place in run.carried),
            tuple(self.step.caches),
        )
        indices = jnp.arange(run.repeats, dtype=jnp.int32)
        (carried, caches), _ = lax.scan(body, first, (indices, stacked))
        self.step.caches = list(caches)
        last = self.graph.nodes[run.end - run.period : run.end]
        for (at, place), value in zip(run.carried, carried, strict=True):
            self.values[last[at].outputs[place]] = value

    def _input(
        self,
        source: tuple[Any, Any],
        at: int,
        made: Sequence[tuple[Array, ...]],
        before: Mapping[tuple[int, int], Array],
        run: Run,
    ) -> Array:
        if source[0] == "input":
            return self.values[source[1]]
        place = at - source[0]
        return made[place][source[1]] if place >= 0 else before[place + run.period, source[1]]

    def _start(self, run: Run, at: int, place: int) -> Array:
        """What the first repeat finds of a carried value: that of the node as far before the run, or zeros."""
        index = run.start + at - run.period
        inside = self.graph.nodes[run.start + at].outputs[place]
        value = self.graph.values[inside]
        shape = tuple(self._length(length) for length in value.shape)
        dtype = jnp.float32 if value.dtype == "cache" else self.dtype
        if index >= 0 and place < len(self.graph.nodes[index].outputs):
            found = self.values[self.graph.nodes[index].outputs[place]]
            if found.shape == shape and found.dtype == dtype:
                return found
        return jnp.zeros(shape, dtype)

    def _length(self, length: int | str) -> int:
        bucket = self.step.bucket
        lengths = {"T": bucket.tokens, "N": bucket.outputs, "R": bucket.rows, "G": bucket.rows + 1}
        return lengths[length] if isinstance(length, str) else int(np.int64(length))
