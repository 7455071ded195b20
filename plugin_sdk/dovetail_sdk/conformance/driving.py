"""Steps made by hand: batches in guarded memory, and a loaded model that runs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dovetail.graph import Graph
from dovetail.platform import (
    F32,
    I32,
    Batch,
    Device,
    KVLayout,
    LateEdits,
    LoadedModel,
    Pending,
    SamplingColumns,
    Shape,
    Ticket,
    Tokens,
    WeightSource,
)
from numpy.typing import NDArray

from .check import Failed

Array = NDArray[Any]
BAND = 32
"""Guard numbers before and after every array."""
CANARY = 0xA5


class Guard:
    """Arrays between bands of canaries.

    A plugin neither writes to what the core passes nor keeps it: `release` finds out about the first, and hands
    the arrays back full of zeros to make the second show.
    """

    def __init__(self) -> None:
        self._held: list[tuple[str, Array, Array, Array]] = []

    def array(self, name: str, numbers: Any, dtype: Any = np.int32) -> Array:
        """A copy of the numbers between bands."""
        return self._hold(name, np.ascontiguousarray(numbers, dtype))

    def out(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Room for a plugin to write to, between bands; only these are not checked inside."""
        whole, inner = _banded(np.zeros(shape, dtype))
        self._held.append((name, whole, inner, inner))
        return inner

    def _hold(self, name: str, numbers: Array) -> Array:
        whole, inner = _banded(numbers)
        self._held.append((name, whole, inner, numbers.copy()))
        return inner

    def check(self) -> None:
        """Failed if a band or an array of the caller was written to."""
        for name, whole, inner, wanted in self._held:
            size = BAND * inner.itemsize
            raw = whole.view(np.uint8)
            if (raw[:size] != CANARY).any() or (raw[raw.size - size :] != CANARY).any():
                raise Failed(f"memory beside {name} was written to")
            if inner is not wanted and not np.array_equal(
                inner.view(np.uint8), wanted.view(np.uint8)
            ):
                raise Failed(f"{name} belongs to the core and was written to")

    def release(self) -> None:
        """Check, then make all arrays zeros."""
        self.check()
        for _, _, inner, _ in self._held:
            inner[...] = 0
        self._held.clear()


def _banded(numbers: Array) -> tuple[Array, Array]:
    band = BAND * numbers.itemsize
    raw = np.full(numbers.nbytes + 2 * band, CANARY, np.uint8)
    inner = raw[band : band + numbers.nbytes].view(numbers.dtype).reshape(numbers.shape)
    inner[...] = numbers
    return raw, inner


@dataclass(frozen=True, slots=True)
class Row:
    """New tokens of one sequence in a step.

    tokens    ids, or ~v for what slot v sampled last
    past      tokens of the row that are in the cache
    blocks    its blocks in order, the same ids in every group, or one list per group
    position  rotary position of the first new token, `past` if None
    types     its tokens' types; a step has the column if its first row has them
    """

    tokens: Sequence[int]
    past: int
    blocks: Sequence[int] | Sequence[Sequence[int]]
    slot: int = 1
    position: int | None = None
    types: Sequence[int] | None = None

    def of_group(self, group: int) -> Sequence[int]:
        """Blocks in a cache group."""
        first = self.blocks[0] if self.blocks else 0
        return self.blocks if isinstance(first, int) else self.blocks[group]  # type: ignore[return-value]


def make_batch(
    groups: int,
    rows: Sequence[Row],
    outputs: Iterable[int],
    copies: Sequence[tuple[int, int]] = (),
    guard: Guard | None = None,
    padding: int = 0,
) -> Batch:
    """A step of these rows; copies happen in every group.

    padding  columns of zeros behind the tables
    """
    guard = guard or Guard()
    counts = [len(row.tokens) for row in rows]
    places = [
        (row.past if row.position is None else row.position) + at
        for row in rows
        for at in range(len(row.tokens))
    ]
    return Batch(
        tokens=guard.array("tokens", [token for row in rows for token in row.tokens]),
        positions=guard.array("positions", [places]),
        row_starts=guard.array("row_starts", np.cumsum([0, *counts])),
        slots=guard.array("slots", [row.slot for row in rows]),
        past=guard.array("past", [row.past for row in rows]),
        tables=tuple(guard.array(f"table {g}", _table(rows, g, padding)) for g in range(groups)),
        copies=tuple(
            guard.array(f"copies {g}", np.reshape(np.array(copies, np.int32), (-1, 2)))
            for g in range(groups)
        ),
        outputs=guard.array("outputs", list(outputs)),
        token_types=_types(rows, guard),
    )


def _types(rows: Sequence[Row], guard: Guard) -> I32 | None:
    if rows[0].types is None:
        return None
    return guard.array("token_types", [kind for row in rows for kind in row.types or ()])


def _table(rows: Sequence[Row], group: int, padding: int) -> I32:
    lists = [row.of_group(group) for row in rows]
    table = np.zeros((len(rows), max(map(len, lists)) + padding), np.int32)
    for blocks, line in zip(lists, table, strict=True):
        line[: len(blocks)] = blocks
    return table


class Session:
    """A graph loaded on a device with a cache, and steps on it.

    Every step's arrays are guarded, and handed back as zeros as soon as `run` has returned.
    """

    def __init__(
        self,
        device: Device,
        graph: Graph,
        weights: WeightSource,
        *,
        form: str,
        block_size: int,
        num_blocks: int = 64,
        shape: Shape,
    ) -> None:
        self.graph = graph
        self.groups = len(graph.cache)
        self.block_size = block_size
        self.model: LoadedModel = device.load(graph, weights)
        self.layout = KVLayout(block_size, form, graph.cache)
        self.shape = shape
        self.allocate(num_blocks)
        self.program = self.model.compile(shape)

    def allocate(self, num_blocks: int) -> None:
        """A new cache with so many blocks in each group."""
        self.num_blocks = num_blocks
        self.model.allocate(self.layout, (num_blocks,) * self.groups)

    def run(
        self,
        rows: Sequence[Row],
        outputs: Iterable[int] | None = None,
        copies: Sequence[tuple[int, int]] = (),
        padding: int = 0,
    ) -> Pending:
        """Issue a step; outputs are all tokens if None."""
        guard = Guard()
        count = sum(len(row.tokens) for row in rows)
        wanted = range(count) if outputs is None else outputs
        batch = make_batch(self.groups, rows, wanted, copies, guard, padding)
        pending = self.program.run(batch)
        guard.release()
        return pending

    def step(
        self,
        rows: Sequence[Row],
        outputs: Iterable[int] | None = None,
        copies: Sequence[tuple[int, int]] = (),
        output: str = "logits",
        padding: int = 0,
    ) -> F32:
        """Run a step and fetch an output of all its rows [N, ...]."""
        wanted = list(range(sum(len(row.tokens) for row in rows)) if outputs is None else outputs)
        pending = self.run(rows, wanted, copies, padding)
        return fetch(pending, output, range(len(wanted)))

    def whole(self, tokens: Sequence[int], blocks: Sequence[int]) -> F32:
        """Logits [T, V] of a sequence computed at once."""
        return self.step([Row(tokens, 0, blocks)])

    def need(self, tokens: int) -> int:
        """Blocks for so many tokens."""
        return -(-tokens // self.block_size)

    def close(self) -> None:
        """Give everything back."""
        self.model.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fetch(pending: Pending, output: str, rows: Iterable[int]) -> F32:
    """A copy of an output at some rows, once it is there."""
    guard = Guard()
    indices = guard.array("rows", list(rows))
    ticket = pending.fetch(output, indices)
    guard.release()
    return np.array(ticket.result())


def sample(
    pending: Pending,
    rows: Sequence[int],
    late: LateEdits | None = None,
    **fields: Any,
) -> Ticket[Tokens]:
    """Ask for tokens; fields are those of SamplingColumns, greedy without log-probabilities if left out."""
    guard = Guard()
    made = columns(len(rows), **fields)
    held = SamplingColumns(
        **{name: guard.array(name, value, value.dtype) for name, value in _fields(made).items()}
    )
    held_late = None
    if late is not None:
        held_late = LateEdits(
            **{name: guard.array(name, value, value.dtype) for name, value in _fields(late).items()}
        )
    ticket = pending.sample(guard.array("rows", list(rows)), held, held_late)
    guard.release()
    return ticket


def columns(n: int, **fields: Any) -> SamplingColumns:
    """Columns of n rows; numbers stand for all of them."""
    defaults: Mapping[str, tuple[Any, Any, tuple[int, ...]]] = {
        "slot": (-1, np.int32, (n,)),
        "target": (-1, np.int32, (n,)),
        "temperature": (0, np.float32, (n,)),
        "top_k": (0, np.int32, (n,)),
        "top_p": (1, np.float32, (n,)),
        "min_p": (0, np.float32, (n,)),
        "seed": (0, np.uint32, (n, 2)),
        "position": (0, np.int32, (n,)),
        "logprobs": (-1, np.int32, (n,)),
    }
    made = {
        name: np.broadcast_to(np.asarray(fields.get(name, value)), shape).astype(dtype)
        for name, (value, dtype, shape) in defaults.items()
    }
    return SamplingColumns(**made)


def _fields(record: Any) -> dict[str, Array]:
    return {name: getattr(record, name) for name in record.__slots__}
