"""Wrong steps: copies, padding, outputs and slots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from dovetail.platform import F32, I32, Batch, Pending, Shape, Ticket
from numpy.typing import NDArray

from dovetail_sdk.registers import Registers
from dovetail_sdk.runner import (
    KernelPending,
    KernelProgram,
)
from dovetail_sdk.runner.state import ModelState

from .paging import write_beside
from .plant import mutant

Array = NDArray[Any]


class CopiesAfter(KernelProgram):
    def run(self, batch: Batch) -> Pending:
        none = tuple(copies[:0] for copies in batch.copies)
        pending = super().run(replace(batch, copies=none))
        for group, copies in enumerate(batch.copies):
            self._state.cache().copy(group, copies[:, 0], copies[:, 1])
        return pending


class CopiesIgnored(KernelProgram):
    def run(self, batch: Batch) -> Pending:
        none = tuple(copies[:0] for copies in batch.copies)
        return super().run(replace(batch, copies=none))


class CopiesBackwards(KernelProgram):
    def run(self, batch: Batch) -> Pending:
        turned = tuple(copies[:, ::-1] for copies in batch.copies)
        for group, copies in enumerate(turned):
            self._state.cache().copy(group, copies[:, 0], copies[:, 1])
        return super().run(replace(batch, copies=tuple(copies[:0] for copies in turned)))


class PaddingInLastBlock(KernelProgram):
    """Padding has block -1, which NumPy takes for the last one."""

    def run(self, batch: Batch) -> Pending:
        pending = super().run(batch)
        if batch.tokens.size & (batch.tokens.size - 1):
            for array in self._state.cache().arrays():
                array[-1] = 0
        return pending


class PaddingAttended(KernelProgram):
    """Steps are padded to a power of two by repeating the last row's token in its own blocks."""

    def run(self, batch: Batch) -> Pending:
        pending = super().run(batch)
        short = -batch.tokens.size % 4
        cache = self._state.cache()
        size = cache.layout.block_size
        end = int(batch.past[-1] + batch.row_starts[-1] - batch.row_starts[-2])
        for group, table in enumerate(batch.tables):
            for place in range(end - 1, max(end - 1 - short, -1), -1):
                for array in cache.group_arrays(group):
                    array[table[-1, place // size], place % size] = 0
        return pending


class FullProgramDropsOutput(KernelProgram):
    """The last output of a step that fills its program is that of the first token."""

    def run(self, batch: Batch) -> Pending:
        if batch.outputs.size == self.shape.outputs > 1:
            outputs = batch.outputs.copy()
            outputs[-1] = 0
            batch = replace(batch, outputs=outputs)
        return super().run(batch)


class NarrowTables(KernelProgram):
    """A program keeps to half of the blocks that it was compiled for: the others are read as the first."""

    def run(self, batch: Batch) -> Pending:
        most = max(1, self.shape.blocks // 2)
        return self._read_within(batch, most) if self._crosses(batch, most) else super().run(batch)

    def _crosses(self, batch: Batch, most: int) -> bool:
        size = self._state.cache().layout.block_size
        return bool(batch.tables) and bool((batch.past >= most * size).any())

    def _read_within(self, batch: Batch, most: int) -> Pending:
        arrays = self._state.cache().arrays()
        kept = [array.copy() for array in arrays]
        for table in batch.tables:
            far = table[:, most:]
            for array in arrays:
                array[far[far > 0]] = 0
        pending = super().run(batch)
        del kept
        return pending


class KeepsFirstCache(KernelProgram):
    """A program goes on with the cache that there was when it was compiled."""

    def __init__(self, state: ModelState, shape: Shape) -> None:
        super().__init__(state, shape)
        self._kept = state.paged

    def run(self, batch: Batch) -> Pending:
        state, current = self._state, self._state.paged
        if self._kept is not None and current is not None:
            sizes = [len(layers[0].keys) for layers in self._kept._layers]
            tables = tuple(
                np.where(t < n, t, 2 + t % (n - 2)).astype(np.int32)
                for t, n in zip(batch.tables, sizes, strict=True)
            )
            batch = replace(batch, tables=tables)
            self._kept.num_blocks = current.num_blocks
            state.paged = self._kept
        try:
            return super().run(batch)
        finally:
            state.paged = current


class TokensResolvedInPlace(KernelProgram):
    def run(self, batch: Batch) -> Pending:
        batch.tokens[:] = self._state.registers.resolve(batch.tokens)
        return super().run(batch)


class WritesBesideTokens(KernelProgram):
    def run(self, batch: Batch) -> Pending:
        pending = super().run(batch)
        write_beside(batch.tokens)
        return pending


class WritesBesideTables(KernelProgram):
    def run(self, batch: Batch) -> Pending:
        pending = super().run(batch)
        for table in batch.tables:
            write_beside(table)
        return pending


class OneBuffer(KernelProgram):
    """All steps put their outputs in one place."""

    _buffers: dict[tuple[int, str], Array]

    def __init__(self, state: ModelState, shape: Shape) -> None:
        super().__init__(state, shape)
        self._buffers = {}

    def run(self, batch: Batch) -> Pending:
        pending = super().run(batch)
        assert isinstance(pending, KernelPending)
        for name, made in pending._results.items():
            room = (self.shape.outputs, *made.shape[1:])
            buffer = self._buffers.setdefault((made.ndim, name), np.zeros(room, made.dtype))
            buffer[: len(made)] = made
            pending._results[name] = buffer[: len(made)]
        return pending


class FetchesFirstRows(KernelPending):
    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        return super().fetch(output, np.arange(rows.size, dtype=np.int32))


class FirstRowsFetched(KernelProgram):
    def run(self, batch: Batch) -> Pending:
        pending = super().run(batch)
        assert isinstance(pending, KernelPending)
        return FetchesFirstRows(self._state, pending._results, pending._outputs, pending._event)


class FetchesStale(KernelPending):
    """What was fetched of a step before, as long as it is of the same size."""

    _fetched: dict[str, Ticket[F32]]

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        ticket = super().fetch(output, rows)
        before = self._fetched.get(output)
        self._fetched[output] = ticket
        same = before is not None and before.result().shape == ticket.result().shape
        return before if before is not None and same else ticket


class StaleFetched(KernelProgram):
    def __init__(self, state: ModelState, shape: Shape) -> None:
        super().__init__(state, shape)
        self._fetched: dict[str, Ticket[F32]] = {}

    def run(self, batch: Batch) -> Pending:
        pending = super().run(batch)
        assert isinstance(pending, KernelPending)
        stale = FetchesStale(self._state, pending._results, pending._outputs, pending._event)
        stale._fetched = self._fetched
        return stale


class TokensOfOtherSlots(Registers):
    """Tokens go to the slots in rising order, not in the order of the rows."""

    def write(self, slots: I32, ids: I32) -> None:
        super().write(np.sort(slots), ids)


class TokensOfTheStepBefore(Registers):
    """What was sampled can be read one step late."""

    def __init__(self) -> None:
        super().__init__()
        self._coming: list[tuple[I32, I32]] = []

    def write(self, slots: I32, ids: I32) -> None:
        for before in self._coming:
            super().write(*before)
        self._coming = [(slots.copy(), ids.copy())]


class ScoresKept(Registers):
    """A row that keeps no token (slot -1) writes it to the lowest slot there is."""

    def write(self, slots: I32, ids: I32) -> None:
        super().write(np.where(slots < 0, 1, slots), ids)


class FirstSlotRead(Registers):
    """Every ~v of a step is what the first of them stands for."""

    def resolve(self, tokens: I32) -> I32:
        late = np.flatnonzero(tokens < 0)
        if late.size:
            tokens = tokens.copy()
            tokens[late] = tokens[late[0]]
        return super().resolve(tokens)


MUTANTS = (
    mutant("copies-ignored", "a step's copies are not made", "cache", program=CopiesIgnored),
    mutant("copies-late", "a step's copies are made after its rows", "cache", program=CopiesAfter),
    mutant(
        "copies-backwards",
        "a step's copies go from target to source",
        "cache",
        program=CopiesBackwards,
    ),
    mutant(
        "first-cache-kept",
        "a program goes on with the cache that it was compiled with",
        "programs",
        "cache",
        program=KeepsFirstCache,
    ),
    mutant(
        "padding-in-last-block",
        "padding is written to block -1, the last one, instead of block 0",
        "programs",
        "cache",
        program=PaddingInLastBlock,
    ),
    mutant(
        "padding-in-row",
        "padding is written over the end of the last row",
        "programs",
        "cache",
        program=PaddingAttended,
    ),
    mutant(
        "full-program",
        "a step as large as its program has a wrong last output",
        "programs",
        program=FullProgramDropsOutput,
    ),
    mutant(
        "half-the-blocks",
        "a program forgets what lies beyond half of the blocks it was compiled for",
        "programs",
        program=NarrowTables,
    ),
    mutant(
        "batch-written",
        "~v is replaced in the caller's own array",
        "steps",
        program=TokensResolvedInPlace,
    ),
    mutant(
        "written-beside-tokens",
        "a write past the end of the batch's tokens",
        "cache",
        "steps",
        program=WritesBesideTokens,
    ),
    mutant(
        "written-beside-tables",
        "a write past the end of the batch's tables",
        "cache",
        "steps",
        program=WritesBesideTables,
    ),
    mutant(
        "one-buffer",
        "outputs of a step are overwritten by the next before they are sampled",
        "steps",
        program=OneBuffer,
        capabilities={"steps_in_flight": 2},
    ),
    mutant(
        "fetch-first-rows",
        "fetch returns the first rows, whichever were asked for",
        "steps",
        "cache",
        program=FirstRowsFetched,
    ),
    mutant(
        "fetch-stale",
        "fetch returns what was fetched of the step before",
        "steps",
        "cache",
        program=StaleFetched,
    ),
    mutant(
        "slots-mixed-up",
        "tokens are kept in slots in rising order, not by row",
        "steps",
        registers=TokensOfOtherSlots,
    ),
    mutant(
        "slots-one-step-old",
        "~v is what slot v sampled the time before",
        "steps",
        registers=TokensOfTheStepBefore,
    ),
    mutant(
        "slots-written-by-scores", "rows with slot -1 write slot 1", "steps", registers=ScoresKept
    ),
    mutant(
        "slots-read-once",
        "every ~v of a step reads the first one's slot",
        "steps",
        registers=FirstSlotRead,
    ),
)
