"""What an engine may hand to a program, checked to the letter.

The platforms here are oracles: where a fast platform would read someone else's block, they say what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from dovetail.graph import CacheGroup
from dovetail.platform import I32, Batch, Shape
from numpy.typing import NDArray

I64 = NDArray[np.int64]
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Cache:
    """The part of an allocated cache that a check needs.

    block_size  S
    num_blocks  per group, block 0 included
    """

    block_size: int
    num_blocks: tuple[int, ...]
    groups: tuple[CacheGroup, ...]


def copy_of(record: A) -> A:
    """A Batch, SamplingColumns or LateEdits with the same numbers in arrays of its own; None stays None."""
    if record is None:
        return record
    copies: dict[str, Any] = {}
    for name in record.__slots__:  # type: ignore[attr-defined]
        value = getattr(record, name)
        if value is None:
            copies[name] = None
            continue
        alone = not isinstance(value, tuple)
        copies[name] = value.copy() if alone else tuple(array.copy() for array in value)
    return type(record)(**copies)


def check_batch(batch: Batch, shape: Shape, cache: Cache) -> None:
    """Raise ValueError, naming what is wrong, unless the step may be run."""
    starts, rows = batch.row_starts, batch.slots.size
    tokens = batch.tokens.size
    if starts.size != rows + 1 or starts[0] != 0 or starts[-1] != tokens:
        raise ValueError(
            f"row_starts {starts.tolist()} do not cut {tokens} tokens into {rows} rows"
        )
    lengths = np.diff(starts)
    if (lengths < 1).any():
        raise ValueError(f"row {int(lengths.argmin())} has no tokens")
    if batch.past.size != rows or (batch.past < 0).any():
        raise ValueError(f"past {batch.past.tolist()} does not fit {rows} rows")
    if batch.positions.ndim != 2 or batch.positions.shape[1] != tokens:
        raise ValueError(f"positions are {batch.positions.shape}; they must be [P, {tokens}]")
    _check_slots(batch.slots)
    _check_shape(batch, shape)
    outside = (batch.outputs < 0) | (batch.outputs >= tokens)
    if outside.any():
        raise ValueError(
            f"outputs hold {batch.outputs[outside].tolist()}; there are {tokens} tokens"
        )
    if len(batch.tables) != len(cache.groups) or len(batch.copies) != len(cache.groups):
        raise ValueError(
            f"{len(batch.tables)} tables and {len(batch.copies)} lists of copies for {len(cache.groups)} cache groups"
        )
    for index in range(len(cache.groups)):
        _check_copies(batch.copies[index], cache.num_blocks[index])
        _check_table(batch, cache, index)


def check_columns(batch: Batch, inputs: Collection[str]) -> None:
    """Raise ValueError unless the batch has the columns that a graph's inputs name."""
    types = batch.token_types
    if "token_types" not in inputs:
        return
    if types is None or types.shape != batch.tokens.shape or (types < 0).any():
        found = "missing" if types is None else f"{types.shape} from {int(types.min())}"
        raise ValueError(f"token_types are {found}; one from 0 per token is wanted")


def _check_slots(slots: I32) -> None:
    if (slots < 1).any():
        raise ValueError(f"slots hold {int(slots.min())}; slot 0 is scrap and rows use 1 and up")
    used, counts = np.unique(slots, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"slots {used[counts > 1].tolist()} are used by two rows of one step")


def _check_shape(batch: Batch, shape: Shape) -> None:
    """The step fits what was compiled."""
    blocks = max((table.shape[-1] for table in batch.tables), default=0)
    for name, value, limit in (
        ("tokens", batch.tokens.size, shape.tokens),
        ("rows", batch.slots.size, shape.rows),
        ("outputs", batch.outputs.size, shape.outputs),
        ("blocks", blocks, shape.blocks),
    ):
        if value > limit:
            raise ValueError(f"the step has {value} {name}; the program was compiled for {limit}")


def _check_copies(copies: I32, num_blocks: int) -> None:
    if copies.size == 0:
        return
    check_blocks("a copy", copies, num_blocks)
    targets = copies[:, 1]
    if np.unique(targets).size != targets.size:
        raise ValueError(f"copies write a block twice: {targets.tolist()}")
    if np.isin(copies[:, 0], targets).any():
        raise ValueError(f"copies read a block that another copy writes: {copies.tolist()}")


def check_blocks(what: str, blocks: NDArray[np.integer], num_blocks: int) -> None:
    """Raise ValueError unless all are real blocks: in range and not the scrap block."""
    wrong = (blocks < 1) | (blocks >= num_blocks)
    if wrong.any():
        raise ValueError(
            f"{what} names block {int(blocks[wrong][0])}; blocks are 1 to {num_blocks - 1}"
        )


def _check_table(batch: Batch, cache: Cache, index: int) -> None:
    """Every position that is read or written has a real block, and no written block belongs to two rows."""
    table, size = batch.tables[index], cache.block_size
    if table.ndim != 2 or len(table) != batch.slots.size:
        raise ValueError(f"table {index} is {table.shape}; it must be [{batch.slots.size}, M]")
    ends = batch.past + np.diff(batch.row_starts)
    needed = -(-ends // size)
    if (needed > table.shape[1]).any():
        row = int(needed.argmax())
        raise ValueError(
            f"row {row} ends at token {int(ends[row])} and needs {int(needed[row])} blocks of {size}; "
            f"table {index} has {table.shape[1]}"
        )
    window = cache.groups[index].window
    first = np.zeros_like(needed)
    if window is not None:
        first = np.maximum(batch.past - window + 1, 0) // size
    column = np.arange(table.shape[1])
    used = (column >= first[:, None]) & (column < needed[:, None])
    check_blocks(f"table {index}", table[used], cache.num_blocks[index])
    written = used & (column >= (batch.past // size)[:, None])
    _check_writes(table, used, written, index)


def _check_writes(
    table: I32, used: NDArray[np.bool_], written: NDArray[np.bool_], index: int
) -> None:
    """A block that a row writes is in nobody else's table, nor twice in its own."""
    targets = table[written]
    if targets.size == 0:
        return
    uses = np.bincount(table[used])
    shared = targets[uses[targets] > 1]
    if shared.size:
        raise ValueError(
            f"table {index}: block {int(shared[0])} is written by one row and used again in this step"
        )


def check_sampled(rows: I32, outputs: int) -> None:
    """Raise ValueError unless rows index the step's outputs."""
    wrong = (rows < 0) | (rows >= outputs)
    if wrong.any():
        raise ValueError(f"rows hold {int(rows[wrong][0])}; the step has {outputs} outputs")
