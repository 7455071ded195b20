"""What every loaded model of this platform has, whatever runs its steps: a cache of blocks and one step in flight."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from dovetail.errors import CacheLost, PlatformError
from dovetail.graph import Graph
from dovetail.platform import I32, Batch, KVLayout, LoadedModel, Pending, Ready, Ticket
from dovetail_sdk.registers import Registers
from numpy.typing import NDArray

from . import cost
from .cache import BlockCache
from .paged import BLOCK_SIZE


class HeldModel(LoadedModel):
    """Blocks are copied, read and written by the host between steps. Also a BlockTransfer."""

    _made_by: str
    """First word of the block format: whose order the bytes of a block have."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._registers = Registers()
        self._cache: BlockCache | None = None
        self._running: Pending | None = None
        self._vocabulary = cost.embedding_rows(graph)

    @abstractmethod
    def _start(self, batch: Batch, tokens: I32) -> Pending:
        """Start a step whose slots are resolved; nothing else is running."""

    @property
    @abstractmethod
    def _cache_form(self) -> str: ...

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        self._settle()
        self._blocks().copy(group, sources, targets)

    @property
    def block_format(self) -> str:
        groups = ";".join(
            f"{len(group.layers)}x{group.kv_heads}x{group.key_width}+{group.value_width}"
            for group in self._graph.cache
        )
        return f"{self._made_by} {self._cache_form} {BLOCK_SIZE} {groups}"

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        self._settle()
        self._blocks().read(group, blocks, out)
        return Ready(None)

    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        self._settle()
        self._blocks().write(group, blocks, data)
        return Ready(None)

    def _run(self, batch: Batch) -> Pending:
        """Start a step; waits for the one before."""
        self._settle()
        for group, copies in enumerate(batch.copies):
            if copies.size:
                self._blocks().copy(group, copies[:, 0], copies[:, 1])
        self._running = self._start(batch, self._registers.resolve(batch.tokens))
        return self._running

    def _settle(self) -> None:
        """Wait for the step in flight: host code is about to touch what it uses."""
        if self._running is not None:
            running, self._running = self._running, None
            running.wait()

    def _blocks(self) -> BlockCache:
        if self._cache is None:
            raise CacheLost("the model has no cache; allocate one first")
        return self._cache


def check_block_size(layout: KVLayout) -> None:
    """Raise PlatformError for blocks of another size than all kernels here page in."""
    if layout.block_size != BLOCK_SIZE:
        raise PlatformError(
            f"the cpu platform pages in blocks of {BLOCK_SIZE} tokens, not {layout.block_size}; "
            f"use --block-size {BLOCK_SIZE}"
        )
