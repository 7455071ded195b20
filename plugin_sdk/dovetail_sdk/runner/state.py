"""What a loaded model of the runner and its programs share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from dovetail.graph import Graph
from dovetail.platform import Batch, KVLayout, Shape

from dovetail_sdk.batches import Cache, check_batch, check_columns
from dovetail_sdk.registers import Calls, Registers
from dovetail_sdk.sampling import HostSampler

from .backend import Array, Backend
from .cache import PagedCache
from .call import Call


class GraphState:
    """A graph whose kernels have their weights, what was called on it, and the cache.

    vocab_size  width of the logits, 0 if there are none
    paged       None before the cache is allocated, and after the model is closed
    """

    def __init__(self, graph: Graph, steps: list[Call], backend: Backend) -> None:
        self.graph = graph
        self.steps = steps
        self.backend = backend
        self.vocab_size = _width(graph, "logits")
        self.calls = Calls(_vocabulary(graph) or self.vocab_size)
        self.paged: PagedCache | None = None
        if not graph.cache:
            self.paged = PagedCache(backend, KVLayout(1, "f32", ()), ())

    def cache(self) -> PagedCache:
        """The cache; ValueError before `allocate`."""
        if self.paged is None:
            raise ValueError("the cache was not allocated")
        return self.paged

    def checked(self, batch: Batch, shape: Shape) -> PagedCache:
        """The cache for a step; ValueError, naming what is wrong, for a step that no engine may issue."""
        cache = self.cache()
        layout = cache.layout
        check_batch(batch, shape, Cache(layout.block_size, cache.num_blocks, layout.groups))
        check_columns(batch, self.graph.inputs)
        self.calls.check_tokens(batch.tokens)
        return cache

    def workspace(self, shape: Shape) -> int:
        """The widest values of a step a few times over, and the logits twice."""
        widths = [
            int(np.prod([dim for dim in value.shape if isinstance(dim, int)], dtype=np.int64))
            for value in self.graph.values.values()
            if "T" in value.shape
        ]
        step = 8 * shape.tokens * max(widths, default=0)
        return 4 * (step + 2 * shape.outputs * self.vocab_size)


def output_of(results: Mapping[str, Array], name: str) -> Array:
    """An output of the graph. ValueError for one that it has not."""
    if name not in results:
        raise ValueError(f"the graph has no output {name!r}; it has {sorted(results)}")
    return results[name]


class ModelState(GraphState):
    """With the tokens of its slots and the sampler on the host."""

    def __init__(self, graph: Graph, steps: list[Call], backend: Backend) -> None:
        super().__init__(graph, steps, backend)
        self.registers = Registers()
        self.sampler = HostSampler(self.vocab_size)


def _width(graph: Graph, output: str) -> int:
    """Last axis of an output of the graph, 0 if it has none of that name."""
    if output not in graph.outputs:
        return 0
    return int(graph.values[graph.outputs[output]].shape[-1])


def _vocabulary(graph: Graph) -> int:
    """Rows of the table that the tokens index, 0 if none does."""
    sizes = [
        graph.weights[node.weights["table"]].shape[0]
        for node in graph.nodes
        if node.op == "embed" and node.inputs[0] == graph.inputs[0]
    ]
    return min(sizes, default=0)
