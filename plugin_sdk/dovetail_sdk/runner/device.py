"""A device and its models, made of a backend and a table of kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from dovetail.errors import OutOfMemory
from dovetail.graph import Graph, Node
from dovetail.platform import (
    I32,
    Capabilities,
    Device,
    Feature,
    KVLayout,
    LoadedModel,
    Memory,
    Program,
    Ready,
    Shape,
    Support,
    Ticket,
    WeightSource,
)
from numpy.typing import NDArray

from dovetail_sdk.batches import check_blocks

from .backend import Backend
from .cache import PagedCache, block_bytes
from .call import Call, calls
from .kernel import Kernel, revisions
from .program import KernelProgram
from .state import GraphState, ModelState

BLOCK_TRANSFER = Feature("block_transfer", "supported", "the runner reads and writes whole blocks")


class KernelDevice(Device):
    """Runs graphs on a table op -> Kernel.

    capabilities  as the platform states them; `ops`, `dynamic_shapes` and the feature block_transfer follow from the
                  table and the runner
    checked       refuse reads of cache positions that nobody wrote; for platforms that are held to be right, not fast
    """

    def __init__(
        self,
        backend: Backend,
        kernels: Mapping[str, Kernel],
        capabilities: Capabilities,
        *,
        checked: bool = False,
    ) -> None:
        self._backend, self._kernels, self._checked = backend, dict(kernels), checked
        self.capabilities = replace(
            capabilities,
            ops=revisions(self._kernels),
            dynamic_shapes=True,
            features=(*capabilities.features, BLOCK_TRANSFER),
        )

    def memory(self) -> Memory:
        return self._backend.memory()

    def supports(self, graph: Graph) -> tuple[Support, ...]:
        return tuple(self._support(node, graph) for node in graph.nodes)

    def _support(self, node: Node, graph: Graph) -> Support:
        kernel = self._kernels.get(node.op)
        if kernel is None:
            return Support(node.name, None, f"there is no kernel for op {node.op}")
        fitting, reason = kernel.fitting(node, graph)
        return Support(node.name, fitting.name if fitting else None, reason)

    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        """Every kernel packs its weights. Raises OutOfMemory."""
        try:
            steps = calls(graph, weights, self._kernels, self._backend)
        except MemoryError as error:
            raise OutOfMemory(f"the weights of {graph.name} do not fit: {error}") from None
        return self._model(graph, steps)

    def _model(self, graph: Graph, steps: list[Call]) -> LoadedModel:
        """A model whose kernels have their weights."""
        return KernelModel(ModelState(graph, steps, self._backend), checked=self._checked)

    def close(self) -> None:
        """Nothing to give back here; platforms that hold a device do so."""


class KernelModel(LoadedModel):
    """Weights and, after `allocate`, the cache. Offers BlockTransfer."""

    block_format = ""

    def __init__(self, state: GraphState, *, checked: bool) -> None:
        self._state, self._checked = state, checked

    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        return block_bytes(layout)

    def workspace(self, shape: Shape) -> int:
        return self._state.workspace(shape)

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        state = self._state
        state.paged = None
        try:
            state.paged = PagedCache(state.backend, layout, num_blocks, checked=self._checked)
        except MemoryError as error:
            raise OutOfMemory(f"{num_blocks} cache blocks do not fit: {error}") from None
        self.block_format = f"numpy {layout.form} S={layout.block_size} layers K V"

    def compile(self, shape: Shape) -> Program:
        assert isinstance(self._state, ModelState)
        return KernelProgram(self._state, shape)

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        self._blocks("copy_blocks", group, np.concatenate([sources, targets]))
        self._state.cache().copy(group, sources, targets)

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        """See BlockTransfer."""
        self._blocks("read_blocks", group, blocks)
        self._state.cache().read_blocks(group, blocks, out)
        return Ready(None)

    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        """See BlockTransfer."""
        self._blocks("write_blocks", group, blocks)
        self._state.cache().write_blocks(group, blocks, data)
        return Ready(None)

    def close(self) -> None:
        self._state.paged = None
        self._state.steps = []

    def _blocks(self, call: str, group: int, blocks: I32) -> None:
        """ValueError unless they are blocks of the group."""
        check_blocks(call, blocks, self._state.cache().num_blocks[group])
