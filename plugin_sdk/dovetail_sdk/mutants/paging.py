"""Wrong blocks: the cache, copies, slots, and memory that belongs to somebody else."""

from __future__ import annotations

from typing import Any

import numpy as np
from dovetail.platform import I32, KVLayout, Ticket
from numpy.typing import NDArray

from dovetail_sdk.registers import Registers
from dovetail_sdk.runner import (
    Layer,
    PagedCache,
    Step,
)
from dovetail_sdk.runner.state import ModelState

from .plant import CopyModel, Parts, mutant

Array = NDArray[Any]


class KeysCopiedAlone(PagedCache):
    def copy(self, group: int, sources: I32, targets: I32) -> None:
        for layer in self._layers[group]:
            layer.keys[targets] = layer.keys[sources]


class FirstLayerCopied(PagedCache):
    def copy(self, group: int, sources: I32, targets: I32) -> None:
        layer = self._layers[group][0]
        layer.keys[targets] = layer.keys[sources]
        layer.values[targets] = layer.values[sources]


class OneCopied(PagedCache):
    def copy(self, group: int, sources: I32, targets: I32) -> None:
        super().copy(group, sources[:1], targets[:1])


class FirstGroupEverywhere(PagedCache):
    """Layers of every group look into the tables of the first."""

    def layer(self, number: int) -> Layer:
        found = super().layer(number)
        if found.group >= 1 and self.num_blocks[0] == self.num_blocks[found.group]:
            return Layer(0, found.keys, found.values)
        return found


class FirstLayerEverywhere(PagedCache):
    """The layers of a group share one layer's memory."""

    def layer(self, number: int) -> Layer:
        found = super().layer(number)
        return self._layers[found.group][0]


class FullBlocksAreFinal(PagedCache):
    """A block that was filled once is taken for known: what is written to it later lasts for one step."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._full: set[tuple[int, int]] = set()
        self._kept: list[tuple[Array, Array, Array, Array]] = []

    def begin(self, step: Step) -> None:
        for array, blocks, offsets, numbers in self._kept:
            array[blocks, offsets] = numbers
        self._kept = []
        for group in range(len(self._layers)):
            blocks, offsets = step.places(group)
            known = np.array([(group, block) in self._full for block in blocks.tolist()], np.bool_)
            for array in self.group_arrays(group):
                at = blocks[known], offsets[known]
                self._kept.append((array, *at, array[at].copy()))
            ends = blocks[offsets == step.block_size - 1].tolist()
            self._full.update((group, block) for block in ends)


class FirstLayerTransferred(PagedCache):
    """Blocks go to the host without the values of their last layer."""

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> None:
        super().read_blocks(group, blocks, out)
        out[:, -self._layers[group][-1].values[0].nbytes :] = 0


class CopyBlocksIgnored(CopyModel):
    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        pass


class CopyBlocksBackwards(CopyModel):
    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        super().copy_blocks(group, targets, sources)


class CacheNeverGrows(CopyModel):
    """A second `allocate` keeps the first cache; blocks beyond it wrap around."""

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        before = self._state.paged
        if isinstance(before, WrappedCache) and before.layout == layout:
            before.num_blocks = num_blocks
        else:
            super().allocate(layout, num_blocks)


class WrappedCache(PagedCache):
    """Has the blocks that it was made with, whatever num_blocks says."""

    def begin(self, step: Step) -> None:
        for table, layers in zip(step.tables, self._layers, strict=True):
            table %= len(layers[0].keys)


class WritesIgnored(CopyModel):
    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        return super().write_blocks(group, blocks, np.zeros_like(data))


class ReadsPastTheEnd(CopyModel):
    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        ticket = super().read_blocks(group, blocks, out)
        write_beside(out)
        return ticket


class BlockBytesOfKeys(CopyModel):
    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        return tuple(size // 2 for size in super().block_bytes(layout))


class SharedRegisters(CopyModel):
    """All models keep the tokens of their slots in one place."""

    _common = Registers()

    def __init__(self, state: ModelState, parts: Parts) -> None:
        super().__init__(state, parts)
        state.registers = self._common


def write_beside(array: Array) -> None:
    """Overwrite the element after an array's last, where that is memory of a larger array."""
    root: Any = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    end = array.ctypes.data + array.nbytes - root.ctypes.data
    if array.nbytes and root.flags.c_contiguous and end + array.itemsize <= root.nbytes:
        raw = root.reshape(-1).view(np.uint8)
        raw[end : end + array.itemsize] ^= 0xFF


MUTANTS = (
    mutant("copies-of-keys", "values are not copied with the keys", "cache", cache=KeysCopiedAlone),
    mutant(
        "copies-of-one-layer",
        "only the first layer of a block is copied",
        "cache",
        cache=FirstLayerCopied,
    ),
    mutant(
        "copies-of-one-block", "only the first of several copies is made", "cache", cache=OneCopied
    ),
    mutant("copy-blocks-ignored", "copy_blocks does nothing", "cache", model=CopyBlocksIgnored),
    mutant(
        "copy-blocks-backwards",
        "copy_blocks copies targets to sources",
        "cache",
        model=CopyBlocksBackwards,
    ),
    mutant(
        "tables-of-one-group",
        "layers of every cache group use the tables of the first",
        "cache",
        "models",
        cache=FirstGroupEverywhere,
    ),
    mutant(
        "one-layer-kept",
        "all layers of a group share one layer's memory",
        "cache",
        cache=FirstLayerEverywhere,
    ),
    mutant(
        "stale-blocks",
        "a block that was full once is read as it was then, whoever has filled it since",
        "cache",
        cache=FullBlocksAreFinal,
    ),
    mutant(
        "transfer-in-part",
        "read_blocks leaves out the values of the last layer",
        "cache",
        cache=FirstLayerTransferred,
    ),
    mutant("transfer-ignored", "write_blocks writes zeros", "cache", model=WritesIgnored),
    mutant(
        "transfer-past-the-end",
        "read_blocks writes past the array it is given",
        "cache",
        model=ReadsPastTheEnd,
    ),
    mutant(
        "block-bytes-of-keys",
        "block_bytes counts the keys alone",
        "cache",
        "contract",
        model=BlockBytesOfKeys,
    ),
    mutant(
        "cache-never-grows",
        "allocate keeps the cache that there is",
        "programs",
        "cache",
        model=CacheNeverGrows,
        cache=WrappedCache,
    ),
    mutant(
        "slots-of-two-models",
        "models on one device share their slots",
        "steps",
        "contract",
        model=SharedRegisters,
    ),
)
