"""The paged cache of the reference platform, and the part of a step that reads and writes it."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
from dovetail.platform import F32, I32, Batch, KVLayout
from numpy.typing import NDArray

from dovetail_sdk.batches import I64

FORMS: dict[str, np.dtype[np.generic]] = {
    "f32": np.dtype(np.float32),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f16": np.dtype(np.float16),
}
"""Cache form -> type of the stored numbers."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where the tokens of a step are kept.

    starts  [R + 1]  row r owns tokens starts[r]:starts[r + 1]
    past    [R]      tokens of the row already in the cache
    tables  per cache group [R, M]
    """

    starts: I32
    past: I32
    tables: tuple[I32, ...]
    block_size: int

    @classmethod
    def of(cls, batch: Batch, block_size: int) -> Step:
        """The part of a batch that the cache is about."""
        return cls(batch.row_starts, batch.past, batch.tables, block_size)

    def places(self, group: int) -> tuple[I32, I64]:
        """Block and offset [T] of each token of the step."""
        lengths = np.diff(self.starts)
        rows = np.repeat(np.arange(lengths.size), lengths)
        place = np.arange(rows.size) - self.starts[rows] + self.past[rows]
        return self.tables[group][rows, place // self.block_size], place % self.block_size

    def end(self, row: int) -> int:
        """Tokens of a row in the cache after the step."""
        return int(self.past[row] + self.starts[row + 1] - self.starts[row])


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's keys [B, S, K, D] and values [B, S, K, Dv]."""

    group: int
    keys: NDArray[np.generic]
    values: NDArray[np.generic]

    def read(self, step: Step, row: int, first: int) -> tuple[F32, F32]:
        """Keys [c, K, D] and values [c, K, Dv] of a row, from position `first` to the end of the step."""
        size, end = step.block_size, step.end(row)
        begin = first // size
        blocks = step.tables[self.group][row, begin : -(-end // size)]
        within = slice(first - begin * size, end - begin * size)
        keys, values = (
            array[blocks].reshape(-1, *array.shape[2:])[within].astype(np.float32, copy=False)
            for array in (self.keys, self.values)
        )
        return keys, values


class PagedCache:
    """All groups' blocks. Every position knows whether it was ever written: a read before that is refused."""

    def __init__(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self.layout = layout
        self.num_blocks = num_blocks
        form = FORMS[layout.form]
        self._keys, self._values, self._written = [], [], []
        for group, blocks in zip(layout.groups, num_blocks, strict=True):
            shape = (len(group.layers), blocks, layout.block_size, group.kv_heads)
            self._keys.append(np.zeros((*shape, group.key_width), form))
            self._values.append(np.zeros((*shape, group.value_width), form))
            self._written.append(np.zeros(shape[1:3], np.bool_))

    def layer(self, number: int) -> Layer:
        """The cache of the node with this `layer`."""
        for group, description in enumerate(self.layout.groups):
            if number in description.layers:
                at = description.layers.index(number)
                return Layer(group, self._keys[group][at], self._values[group][at])
        raise ValueError(f"no cache group has layer {number}")

    def copy(self, group: int, sources: NDArray[np.integer], targets: NDArray[np.integer]) -> None:
        """Copy whole blocks, all layers."""
        for array in (self._keys[group], self._values[group]):
            array[:, targets] = array[:, sources]
        self._written[group][targets] = self._written[group][sources]

    def begin(self, step: Step) -> None:
        """Mark what a step will write; ValueError if a row reads what nobody wrote."""
        for group, description in enumerate(self.layout.groups):
            for row, past in enumerate(step.past.tolist()):
                first = 0 if description.window is None else max(0, past - description.window + 1)
                self._check_written(step, group, row, np.arange(first, past))
            self._written[group][step.places(group)] = True

    def _check_written(self, step: Step, group: int, row: int, places: I64) -> None:
        size = step.block_size
        blocks = step.tables[group][row, places // size]
        missing = np.flatnonzero(~self._written[group][blocks, places % size])
        if missing.size:
            place = int(places[missing[0]])
            raise ValueError(
                f"row {row} has {int(step.past[row])} tokens in the cache, but position {place} "
                f"(block {int(blocks[missing[0]])}, offset {place % size}) was never written"
            )

    def block_bytes(self) -> tuple[int, ...]:
        """Bytes of one block per group."""
        return block_bytes(self.layout)

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> None:
        """Blocks into out [len(blocks), block bytes]: all layers' keys, then all layers' values."""
        for block, row in zip(blocks.tolist(), out, strict=True):
            parts = (self._keys[group][:, block], self._values[group][:, block])
            row[:] = np.concatenate([np.ascontiguousarray(p).view(np.uint8).ravel() for p in parts])

    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> None:
        """The other way."""
        for block, row in zip(blocks.tolist(), data, strict=True):
            start = 0
            for array in (self._keys[group], self._values[group]):
                size = array[:, block].nbytes
                part = np.ascontiguousarray(row[start : start + size]).view(array.dtype)
                array[:, block] = part.reshape(array[:, block].shape)
                start += size
        self._written[group][blocks] = True


def block_bytes(layout: KVLayout) -> tuple[int, ...]:
    """Bytes of one block per group, all its layers."""
    width = FORMS[layout.form].itemsize * layout.block_size
    return tuple(
        len(group.layers) * group.kv_heads * (group.key_width + group.value_width) * width
        for group in layout.groups
    )
