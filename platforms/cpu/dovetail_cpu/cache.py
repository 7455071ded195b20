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
LARGE_PAGE, PAGE = 2 << 20, 4 << 10


class BlockCache:
    """Blocks of every layer, keys and values apart.

    layers    keys and values of each, [num_blocks, bytes of a block]
    together  what all layers have of a block lies side by side, in records `record_bytes` apart, so that memory is taken
              block by block as a cache fills, and not a large page for each layer at a time; else each layer's memory is one
              piece, as OpenVINO wants it
    """

    def __init__(
        self,
        groups: tuple[CacheGroup, ...],
        widths: tuple[BlockWidths, ...],
        num_blocks: tuple[int, ...],
        *,
        together: bool = False,
    ) -> None:
        _check_room(widths, groups, num_blocks)
        self.num_blocks = num_blocks
        self.layers: dict[int, tuple[Bytes, Bytes]] = {}
        self._planes: list[list[Bytes]] = []
        for group, pair, count in zip(groups, widths, num_blocks, strict=True):
            if together:
                records = _zeros(count, record_bytes(group, pair))
                self.layers |= _within(records, group, pair)
                self._planes.append([records])
            else:
                made = {
                    layer: (_zeros(count, pair[0]), _zeros(count, pair[1]))
                    for layer in group.layers
                }
                self.layers |= made
                self._planes.append([plane for planes in made.values() for plane in planes])

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


def record_bytes(group: CacheGroup, widths: BlockWidths) -> int:
    """Of all that a group's layers have of a block. An odd number of pages of 4 KiB, where it is many: else blocks would meet in a few sets
    of the second-level cache, which hold 4 KiB of each."""
    size = len(group.layers) * sum(widths)
    return (size + PAGE - 1) // (2 * PAGE) * 2 * PAGE + PAGE if size > 16 * PAGE else size


def _within(
    records: Bytes, group: CacheGroup, widths: BlockWidths
) -> dict[int, tuple[Bytes, Bytes]]:
    """Where each layer's keys and values are in them, one layer after the other."""
    keys, both = widths[0], sum(widths)
    starts = {layer: index * both for index, layer in enumerate(group.layers)}
    return {
        layer: (records[:, at : at + keys], records[:, at + keys : at + both])
        for layer, at in starts.items()
    }


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
