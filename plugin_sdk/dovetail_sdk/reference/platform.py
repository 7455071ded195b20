"""The reference platform's device and models."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from dovetail.errors import OutOfMemory
from dovetail.graph import BF16, COMPUTE_DTYPES, F16, F32, INT4, INT8, Graph
from dovetail.graph import OPS as SPECS
from dovetail.platform import (
    I32,
    CacheForm,
    Capabilities,
    Device,
    DeviceInfo,
    KVLayout,
    LoadedModel,
    Memory,
    Platform,
    Program,
    Ready,
    Shape,
    Support,
    Ticket,
    WeightSource,
)
from numpy.typing import NDArray

from dovetail_sdk.batches import check_blocks
from dovetail_sdk.registers import Calls, Registers
from dovetail_sdk.sampling import HostSampler

from .cache import FORMS, PagedCache, block_bytes
from .ops import OPS
from .program import ReferenceProgram, calls
from .weights import read_f32


class ReferencePlatform(Platform):
    """The lowest rank of all: taken by itself only where there is nothing else."""

    name = "reference"
    rank = 1

    def probe(self) -> list[DeviceInfo]:
        """One device, "0"."""
        described = f"NumPy {np.__version__} in f32, plain and slow"
        return [DeviceInfo(id="0", description=described, memory_bytes=host_memory().total)]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        return ReferenceDevice()


class ReferenceDevice(Device):
    """NumPy on the host.

    steps_in_flight  what to claim; every step is computed before `run` returns all the same
    """

    def __init__(self, *, steps_in_flight: int = 1) -> None:
        self.capabilities = Capabilities(
            ops={name: SPECS[name].revision for name in OPS},
            compute_dtypes=COMPUTE_DTYPES,
            weight_forms=(F32, F16, BF16, INT8, INT4),
            cache_forms=tuple(CacheForm(form, 1, 1024) for form in FORMS),
            steps_in_flight=steps_in_flight,
            dynamic_shapes=True,
        )

    def memory(self) -> Memory:
        return host_memory()

    def supports(self, graph: Graph) -> tuple[Support, ...]:
        return tuple(
            Support(node.name, f"numpy {node.op}", "the definition of the op")
            if node.op in OPS
            else Support(node.name, None, f"op {node.op} has no NumPy definition")
            for node in graph.nodes
        )

    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        """All weights as f32. Raises OutOfMemory."""
        try:
            return ReferenceModel(graph, weights)
        except MemoryError as error:
            raise OutOfMemory(f"the weights of {graph.name} do not fit as f32: {error}") from None

    def close(self) -> None:
        pass


class ReferenceModel(LoadedModel):
    """Weights and, after `allocate`, the cache."""

    def __init__(self, graph: Graph, weights: WeightSource) -> None:
        self.graph = graph
        loaded = {name: read_f32(weights, name) for name in graph.weights}
        self.steps = calls(graph, loaded)
        vocab_size = _width(graph, "logits")
        self.registers = Registers()
        self.calls = Calls(_vocabulary(graph) or vocab_size)
        self.sampler = HostSampler(vocab_size)
        self.block_format = ""
        self._cache: PagedCache | None = None
        if not graph.cache:
            self._cache = PagedCache(KVLayout(1, "f32", ()), ())

    def cache(self) -> PagedCache:
        """The cache; ValueError before `allocate`."""
        if self._cache is None:
            raise ValueError("the cache was not allocated")
        return self._cache

    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        return block_bytes(layout)

    def workspace(self, shape: Shape) -> int:
        """The widest values of a step a few times over, and the logits twice."""
        widths = [
            int(np.prod([dim for dim in value.shape if isinstance(dim, int)], dtype=np.int64))
            for value in self.graph.values.values()
            if "T" in value.shape
        ]
        step = 8 * shape.tokens * max(widths, default=0)
        return 4 * (step + 2 * shape.outputs * self.sampler.vocab_size)

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._cache = None
        try:
            self._cache = PagedCache(layout, num_blocks)
        except MemoryError as error:
            raise OutOfMemory(f"{num_blocks} cache blocks do not fit: {error}") from None
        self.block_format = f"numpy {layout.form} S={layout.block_size} layers K V"

    def compile(self, shape: Shape) -> Program:
        return ReferenceProgram(self, shape)

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        cache = self.cache()
        check_blocks("copy_blocks", np.concatenate([sources, targets]), cache.num_blocks[group])
        cache.copy(group, sources, targets)

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        """See BlockTransfer."""
        check_blocks("read_blocks", blocks, self.cache().num_blocks[group])
        self.cache().read_blocks(group, blocks, out)
        return Ready(None)

    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        """See BlockTransfer."""
        check_blocks("write_blocks", blocks, self.cache().num_blocks[group])
        self.cache().write_blocks(group, blocks, data)
        return Ready(None)

    def close(self) -> None:
        self._cache = None
        self.steps = []


def host_memory() -> Memory:
    """The host's memory; free is what could be had without swapping, where the system says."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES")
    free = page * os.sysconf("SC_AVPHYS_PAGES")
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    free = 1024 * int(line.split()[1])
    except OSError:  # not Linux
        pass
    return Memory(total=total, free=free, largest_allocation=free, host=True)


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
