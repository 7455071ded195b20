"""The null platform's devices and models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dovetail.graph import BF16, COMPUTE_DTYPES, F16, F32, FP8, INT4, INT8, OPS, CacheGroup, Graph
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
    Shape,
    Support,
    Ticket,
    WeightSource,
)
from numpy.typing import NDArray

from dovetail_sdk.batches import check_blocks

from .digests import Digests
from .program import NullProgram
from .state import State

PRETENDED_BYTES = 1 << 30
"""Memory that the device claims, so that an engine sizes its cache as on a real one; 8 bytes per token are used."""


class NullPlatform(Platform):
    """Only when named."""

    name = "null"

    def probe(self) -> list[DeviceInfo]:
        """Devices "0", "ahead2", "ahead3", "strict", "strict2" and "strict3"."""
        found = []
        for kind in ("0", "ahead2", "ahead3", "strict", "strict2", "strict3"):
            when = "as late as allowed, all checks" if kind.startswith("strict") else "at once"
            found.append(
                DeviceInfo(
                    id=kind,
                    description=f"no arithmetic, {when}, {_ahead(kind)} steps in flight",
                    memory_bytes=PRETENDED_BYTES,
                )
            )
        return found

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        """The first of the devices; there is nothing to make a mesh of."""
        kind = devices[0].id
        return NullDevice(steps_in_flight=_ahead(kind), strict=kind.startswith("strict"))


def _ahead(kind: str) -> int:
    return int(kind[-1]) if kind[-1] in "23" else 1


class NullDevice(Device):
    """Runs any graph.

    strict  compute late, from the cache alone, and check every call
    seed    of the answers that strict devices give to `done`
    """

    def __init__(self, *, steps_in_flight: int = 1, strict: bool = False, seed: int = 0) -> None:
        self._strict = strict
        self._seed = seed
        self.capabilities = Capabilities(
            ops={name: spec.revision for name, spec in OPS.items()},
            compute_dtypes=COMPUTE_DTYPES,
            weight_forms=(F32, F16, BF16, INT8, FP8, INT4),
            cache_forms=(CacheForm("f32", 1, 1024), CacheForm("bf16", 1, 1024)),
            columns=frozenset({"token_types"}),
            steps_in_flight=steps_in_flight,
            dynamic_shapes=True,
        )

    def memory(self) -> Memory:
        return Memory(PRETENDED_BYTES, PRETENDED_BYTES, PRETENDED_BYTES, host=False)

    def supports(self, graph: Graph) -> tuple[Support, ...]:
        return tuple(Support(node.name, "null", "nothing is computed") for node in graph.nodes)

    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        """The weights are never read."""
        ahead = self.capabilities.steps_in_flight
        return NullModel(State(graph, ahead, strict=self._strict, seed=self._seed))

    def close(self) -> None:
        pass


class NullModel(LoadedModel):
    """A graph, of which only the cache groups and the width of the outputs matter."""

    block_format = "null digests u64"

    def __init__(self, state: State) -> None:
        self._state = state
        if not state.graph.cache:
            self.allocate(KVLayout(1, "f32", ()), ())

    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        """As a real device with 16 or 32 bit caches would need them."""
        width = 4 if layout.form == "f32" else 2
        return tuple(
            max(8, _token_bytes(group, width)) * layout.block_size for group in layout.groups
        )

    def workspace(self, shape: Shape) -> int:
        return 0

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._state.settle()
        self._state.paged = Digests(layout, num_blocks, remember=not self._state.strict)

    def compile(self, shape: Shape) -> Program:
        return NullProgram(self._state, shape)

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        blocks = self._state.digests().blocks[group]
        check_blocks("copy_blocks", np.concatenate([sources, targets]), len(blocks))
        sources, targets = sources.copy(), targets.copy()

        def copy() -> None:
            blocks[targets] = blocks[sources]

        self._state.order.issue(copy)

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        """Digests first, zeros up to the pretended size of a block."""
        memory, blocks = self._state.digests().blocks[group], blocks.copy()
        check_blocks("read_blocks", blocks, len(memory))

        def read() -> None:
            data = memory[blocks].view(np.uint8)
            out[:, : data.shape[1]] = data
            out[:, data.shape[1] :] = 0

        return self._state.order.issue(read)

    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        """The other way."""
        memory, blocks = self._state.digests().blocks[group], blocks.copy()
        check_blocks("write_blocks", blocks, len(memory))
        digests = np.ascontiguousarray(data[:, : 8 * memory.shape[1]]).view(np.uint64)

        def write() -> None:
            memory[blocks] = digests

        return self._state.order.issue(write)

    def close(self) -> None:
        self._state.paged = None


def _token_bytes(group: CacheGroup, width: int) -> int:
    return len(group.layers) * group.kv_heads * (group.key_width + group.value_width) * width
