"""The paged cache: OpenVINO tensors over memory of our own, and whole blocks moved within, out of and into them."""

from __future__ import annotations

import mmap

import numpy as np
import openvino as ov
from dovetail.errors import OutOfMemory
from dovetail.graph import CacheGroup
from dovetail.platform import I32
from numpy.typing import NDArray

from . import host
from .paged import TYPES

Bytes = NDArray[np.uint8]
BlockShapes = tuple[tuple[int, ...], tuple[int, ...]]
"""Shape of one block of a layer's keys and of its values."""


class BlockCache:
    """Blocks of every layer, keys and values apart.

    tensors  by the name of the model input they are set on
    """

    def __init__(
        self,
        groups: tuple[CacheGroup, ...],
        shapes: tuple[BlockShapes, ...],
        form: str,
        num_blocks: tuple[int, ...],
    ) -> None:
        _check_room(shapes, groups, form, num_blocks)
        self.num_blocks = num_blocks
        self.tensors: dict[str, ov.Tensor] = {}
        self._planes: list[list[Bytes]] = []
        for group, pair, count in zip(groups, shapes, num_blocks, strict=True):
            planes: list[Bytes] = []
            for layer in group.layers:
                for kind, shape in zip(("key", "value"), pair, strict=True):
                    plane = _zeros(count, block_bytes(shape, form))
                    planes.append(plane)
                    tensor = ov.Tensor(plane, [count, *shape], TYPES[form])
                    self.tensors[f"{kind}_cache.{layer}"] = tensor
            self._planes.append(planes)

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


def block_bytes(shape: tuple[int, ...], form: str) -> int:
    """Bytes of one block of keys or of values."""
    return int(np.prod(shape)) * int(TYPES[form].size)


def group_block_bytes(group: CacheGroup, shapes: BlockShapes, form: str) -> int:
    """Bytes of one block over all layers of a group."""
    return len(group.layers) * sum(block_bytes(shape, form) for shape in shapes)


def _check_room(
    shapes: tuple[BlockShapes, ...],
    groups: tuple[CacheGroup, ...],
    form: str,
    num_blocks: tuple[int, ...],
) -> None:
    """Refuse what the system has no memory for: it would promise it and kill the process later."""
    parts = zip(groups, shapes, num_blocks, strict=True)
    needed = sum(count * group_block_bytes(group, pair, form) for group, pair, count in parts)
    free = host.free_memory_bytes()
    if needed > free:
        raise OutOfMemory(
            f"the cache needs {needed:,} bytes for {num_blocks} blocks in {form} and {free:,} are free; "
            "ask for less with --kv-cache-memory, or for a smaller --kv-cache-dtype"
        )


def _zeros(count: int, width: int) -> Bytes:
    """Zeroed [count, width] at a page boundary, its pages taken as they are first written."""
    try:
        memory = mmap.mmap(-1, max(1, count * width))
    except (OSError, ValueError, OverflowError) as error:
        raise OutOfMemory(
            f"no {count * width:,} bytes for the cache: {error}; ask for less with --kv-cache-memory"
        ) from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8, count * width).reshape(count, width)
