"""The paged cache: memory of our own, and whole blocks moved within, out of and into it."""

from __future__ import annotations

import mmap

import numpy as np
from dovetail.errors import OutOfMemory
from dovetail.graph import CacheGroup
from dovetail.platform import I32
from numpy.typing import NDArray

from . import host

Bytes = NDArray[np.uint8]
BlockWidths = tuple[int, int]
"""Bytes of one block of a layer's keys and of its values."""
LARGE_PAGE = 2 << 20


class BlockCache:
    """Blocks of every layer, keys and values apart.

    layers  keys and values of each, [num_blocks, bytes of a block]
    """

    def __init__(
        self,
        groups: tuple[CacheGroup, ...],
        widths: tuple[BlockWidths, ...],
        num_blocks: tuple[int, ...],
    ) -> None:
        _check_room(widths, groups, num_blocks)
        self.num_blocks = num_blocks
        self.layers: dict[int, tuple[Bytes, Bytes]] = {}
        self._planes: list[list[Bytes]] = []
        for group, (keys, values), count in zip(groups, widths, num_blocks, strict=True):
            made = {layer: (_zeros(count, keys), _zeros(count, values)) for layer in group.layers}
            self.layers |= made
            self._planes.append([plane for pair in made.values() for plane in pair])

    def copy(self, group: int, sources: I32, targets: I32) -> None:
        """Copy whole blocks, as if pair after pair."""
        if len(sources) == 0:
            return
        self._check(group, sources)
        self._check(group, targets)
        if len(sources) > 1 and np.isin(sources, targets).any():
            for index in range(len(sources)):
                self.copy(group, sources[index : index + 1], targets[index : index + 1])
            return
        for plane in self._planes[group]:
            plane[targets] = plane[sources]

    def read(self, group: int, blocks: I32, out: Bytes) -> None:
        """Blocks as records [len(blocks), bytes of a block]: layer by layer, keys before values."""
        self._check(group, blocks)
        start = 0
        for plane in self._planes[group]:
            end = start + plane.shape[1]
            out[:, start:end] = plane[blocks]
            start = end

    def write(self, group: int, blocks: I32, data: Bytes) -> None:
        """The other way."""
        self._check(group, blocks)
        start = 0
        for plane in self._planes[group]:
            end = start + plane.shape[1]
            plane[blocks] = data[:, start:end]
            start = end

    def _check(self, group: int, blocks: I32) -> None:
        check_blocks(blocks, self.num_blocks[group])


def check_blocks(blocks: I32, num_blocks: int) -> None:
    """Raise ValueError unless every id is a block: OpenVINO would read and write beyond the cache."""
    if blocks.size and (int(blocks.min()) < 0 or int(blocks.max()) >= num_blocks):
        raise ValueError(
            f"block ids {int(blocks.min())} to {int(blocks.max())}; the cache has 0 to {num_blocks - 1}"
        )


def _check_room(
    widths: tuple[BlockWidths, ...], groups: tuple[CacheGroup, ...], num_blocks: tuple[int, ...]
) -> None:
    """Refuse what the system has no memory for: it would promise it and kill the process later."""
    parts = zip(groups, widths, num_blocks, strict=True)
    needed = sum(count * len(group.layers) * sum(pair) for group, pair, count in parts)
    free = host.free_memory_bytes()
    if needed > free:
        raise OutOfMemory(
            f"the cache needs {needed:,} bytes for {num_blocks} blocks and {free:,} are free; "
            "ask for less with --kv-cache-memory, or for a smaller --kv-cache-dtype"
        )


def _zeros(count: int, width: int) -> Bytes:
    """Zeroed [count, width] at the start of a large page, its pages taken as they are first written.

    Private memory: what is shared between processes, as mmap's default is, gets no large pages, and every block would
    then be looked for in pages of its own.
    """
    size = max(1, count * width)
    private = (
        {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    )
    try:
        memory = mmap.mmap(-1, size + LARGE_PAGE, **private)
    except (OSError, ValueError, OverflowError) as error:
        raise OutOfMemory(
            f"no {size:,} bytes for the cache: {error}; ask for less with --kv-cache-memory"
        ) from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    start = -np.frombuffer(memory, np.uint8, 1).ctypes.data % LARGE_PAGE
    return np.frombuffer(memory, np.uint8, count * width, start).reshape(count, width)
