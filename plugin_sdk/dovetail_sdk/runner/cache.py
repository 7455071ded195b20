"""The paged cache of the runner, and the part of a step that reads and writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from dovetail.platform import I32, Batch, KVLayout
from numpy.typing import NDArray

from dovetail_sdk.batches import I64

from .backend import NUMPY_TYPES, Array, Backend

A = TypeVar("A")

SCALED = frozenset({"fp8"})
"""Cache forms whose keys and values come with a scale per token and head."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where the tokens of a step are kept. The arrays are on the host and the step's own.

    starts  [R + 1]  row r owns tokens starts[r]:starts[r + 1]
    past    [R]      tokens of the row already in the cache
    tables  per cache group [R, M]
    """

    starts: I32
    past: I32
    tables: tuple[I32, ...]
    block_size: int
    _made: dict[object, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, batch: Batch, block_size: int) -> Step:
        """The part of a batch that the cache is about, copied."""
        tables = tuple(table.copy() for table in batch.tables)
        return cls(batch.row_starts.copy(), batch.past.copy(), tables, block_size)

    def places(self, group: int) -> tuple[I32, I64]:
        """Block and offset [T] of each token of the step."""
        lengths = np.diff(self.starts)
        rows = np.repeat(np.arange(lengths.size), lengths)
        place = np.arange(rows.size) - self.starts[rows] + self.past[rows]
        return self.tables[group][rows, place // self.block_size], place % self.block_size

    def end(self, row: int) -> int:
        """Tokens of a row in the cache after the step."""
        return int(self.past[row] + self.starts[row + 1] - self.starts[row])

    def once(self, key: object, make: Callable[[], A]) -> A:
        """What `make` returns, made at the first call with this key: index arrays that all layers of a step share."""
        if key not in self._made:
            self._made[key] = make()
        made: A = self._made[key]
        return made


@dataclass(slots=True)
class Layer:
    """One layer's keys [B, S, K, D] and values [B, S, K, Dv], of the cache form's type.

    scales  of the keys and of the values, f32 [B, S, K] each: what stored numbers are multiplied by. None but for SCALED
            forms

    A kernel writes into the arrays, or puts others in their place where arrays do not change.
    """

    group: int
    keys: Array
    values: Array
    scales: tuple[Array, Array] | None = None


class PagedCache:
    """All groups' blocks.

    checked  every position knows whether it was ever written, and a read before that is refused; costs time per row
    """

    def __init__(
        self,
        backend: Backend,
        layout: KVLayout,
        num_blocks: tuple[int, ...],
        *,
        checked: bool = False,
    ) -> None:
        self.layout = layout
        self.num_blocks = num_blocks
        self._backend = backend
        self._layers: list[list[Layer]] = []
        self._written: list[NDArray[np.bool_]] | None = [] if checked else None
        for index, (group, blocks) in enumerate(zip(layout.groups, num_blocks, strict=True)):
            shape = (blocks, layout.block_size, group.kv_heads)
            self._layers.append(
                [
                    Layer(
                        index,
                        backend.empty((*shape, group.key_width), layout.form),
                        backend.empty((*shape, group.value_width), layout.form),
                        (backend.empty(shape, "f32"), backend.empty(shape, "f32"))
                        if layout.form in SCALED
                        else None,
                    )
                    for _ in group.layers
                ]
            )
            if self._written is not None:
                self._written.append(np.zeros(shape[:2], np.bool_))

    def layer(self, number: int) -> Layer:
        """The cache of the node with this `layer`."""
        for group, description in enumerate(self.layout.groups):
            if number in description.layers:
                return self._layers[group][description.layers.index(number)]
        raise ValueError(f"no cache group has layer {number}")

    def arrays(self) -> list[Array]:
        """Every array of the cache."""
        return [array for group in range(len(self._layers)) for array in self.group_arrays(group)]

    def copy(self, group: int, sources: I32, targets: I32) -> None:
        """Copy whole blocks, all layers."""
        if not sources.size:
            return
        for array in self.group_arrays(group):
            self._backend.copy(array, sources, targets)
        if self._written is not None:
            self._written[group][targets] = self._written[group][sources]

    def begin(self, step: Step) -> None:
        """Mark what a step will write; ValueError if a row reads what nobody wrote."""
        if self._written is None:
            return
        for group, description in enumerate(self.layout.groups):
            for row, past in enumerate(step.past.tolist()):
                first = 0 if description.window is None else max(0, past - description.window + 1)
                _check_written(self._written[group], step, group, row, np.arange(first, past))
            self._written[group][step.places(group)] = True

    def block_bytes(self) -> tuple[int, ...]:
        """Bytes of one block per group."""
        return block_bytes(self.layout)

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> None:
        """Blocks into out [len(blocks), block bytes]: all layers' keys, then all layers' values."""
        start = 0
        for array in self.group_arrays(group):
            part = np.ascontiguousarray(self._backend.take(array, blocks)).view(np.uint8)
            part = part.reshape(len(blocks), -1)
            out[:, start : start + part.shape[1]] = part
            start += part.shape[1]

    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> None:
        """The other way."""
        description, form = self.layout.groups[group], NUMPY_TYPES[self.layout.form]
        lead = (len(blocks), self.layout.block_size, description.kv_heads)
        widths = [description.key_width, description.value_width]
        start = 0
        for array, width in zip(
            self.group_arrays(group), np.repeat(widths, len(description.layers)), strict=True
        ):
            size = int(np.prod(lead[1:])) * int(width) * form.itemsize
            part = np.ascontiguousarray(data[:, start : start + size]).view(form)
            self._backend.put(array, blocks, part.reshape(*lead, int(width)))
            start += size
        if self._written is not None:
            self._written[group][blocks] = True

    def group_arrays(self, group: int) -> list[Array]:
        """All layers' keys, then all layers' values, then the scales of either."""
        layers = self._layers[group]
        scales = [pair for layer in layers if (pair := layer.scales) is not None]
        return [
            *(layer.keys for layer in layers),
            *(layer.values for layer in layers),
            *(keys for keys, _ in scales),
            *(values for _, values in scales),
        ]


def _check_written(
    written: NDArray[np.bool_], step: Step, group: int, row: int, places: I64
) -> None:
    size = step.block_size
    blocks = step.tables[group][row, places // size]
    missing = np.flatnonzero(~written[blocks, places % size])
    if missing.size:
        place = int(places[missing[0]])
        raise ValueError(
            f"row {row} has {int(step.past[row])} tokens in the cache, but position {place} "
            f"(block {int(blocks[missing[0]])}, offset {place % size}) was never written"
        )


def block_bytes(layout: KVLayout) -> tuple[int, ...]:
    """Bytes of one block per group, all its layers."""
    item, scales = NUMPY_TYPES[layout.form].itemsize, 8 if layout.form in SCALED else 0
    return tuple(
        len(group.layers)
        * group.kv_heads
        * layout.block_size
        * (item * (group.key_width + group.value_width) + scales)
        for group in layout.groups
    )
