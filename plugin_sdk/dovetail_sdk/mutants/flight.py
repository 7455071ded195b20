"""Wrong order: an asynchronous copy of the reference platform, and what goes wrong in such.

The copy computes as late as it may, so that whatever is not in order shows. It is right; the mutants on top are not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from dovetail.platform import (
    F32,
    I32,
    Batch,
    KVLayout,
    LateEdits,
    Pending,
    Program,
    SamplingColumns,
    Shape,
    Ticket,
    Tokens,
)
from numpy.typing import NDArray

from dovetail_sdk.batches import copy_of
from dovetail_sdk.null.order import Job, Order
from dovetail_sdk.registers import Registers
from dovetail_sdk.runner import KernelProgram
from dovetail_sdk.runner.state import ModelState

from .plant import CopyModel, CopyPlatform, Parts, mutant


class LateModel(CopyModel):
    """Queues what is issued, and works it off when somebody waits."""

    _orders: type[Order] = Order

    def __init__(self, state: ModelState, parts: Parts) -> None:
        super().__init__(state, parts)
        self._order = self._orders(lazy=True)

    def compile(self, shape: Shape) -> Program:
        program = super().compile(shape)
        assert isinstance(program, LateProgram)
        program._order = self._order
        return program

    def _settle(self) -> None:
        """Work off everything."""
        self._order.run_to(self._order.issue(lambda: None))

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._settle()
        super().allocate(layout, num_blocks)

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        sources, targets, copy = sources.copy(), targets.copy(), super().copy_blocks
        self._order.issue(lambda: copy(group, sources, targets))

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        blocks, read = blocks.copy(), super().read_blocks
        return self._order.issue(lambda: read(group, blocks, out).result())

    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        blocks, data, write = blocks.copy(), data.copy(), super().write_blocks
        return self._order.issue(lambda: write(group, blocks, data).result())

    def close(self) -> None:
        self._settle()
        super().close()


class LateProgram(KernelProgram):
    """Steps of a LateModel."""

    _keeps: Callable[[Any], Any] = staticmethod(copy_of)
    _pending: type[LatePending]
    _order: Order

    def run(self, batch: Batch) -> Pending:
        kept, run = self._keeps(batch), super().run
        job = self._order.issue(lambda: run(kept))
        return self._pending(self._order, job, self._state.registers)


class LatePending(Pending):
    """A step that may not have run."""

    _keeps: Callable[[Any], Any] = staticmethod(copy_of)

    def __init__(self, order: Order, step: Job[Pending], registers: Registers) -> None:
        self._order = order
        self._step = step
        self._registers = registers

    def done(self) -> bool:
        return self._step.done()

    def wait(self) -> None:
        self._step.result()

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        own = np.asarray(rows).copy(), self._keeps(columns), self._keeps(late)
        return self._order.issue(lambda: self._step.result().sample(*own).result())

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        rows = rows.copy()
        return self._order.issue(lambda: self._step.result().fetch(output, rows).result())


LateProgram._pending = LatePending


class LatePlatform(CopyPlatform):
    """The asynchronous copy, two steps in flight."""

    name = "late-copy"
    _parts = Parts(model=LateModel, program=LateProgram, capabilities={"steps_in_flight": 2})


def itself(record: Any) -> Any:
    """The caller's own arrays."""
    return record


class KeepsBatch(LateProgram):
    _keeps = staticmethod(itself)


class KeepsColumns(LatePending):
    _keeps = staticmethod(itself)


class ColumnsKept(LateProgram):
    _pending = KeepsColumns


class CopiesAtOnce(LateModel):
    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        CopyModel.copy_blocks(self, group, sources, targets)


class WritesAtOnce(LateModel):
    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        return CopyModel.write_blocks(self, group, blocks, data)


class KeepsData(LateModel):
    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        blocks = blocks.copy()
        return self._order.issue(lambda: CopyModel.write_blocks(self, group, blocks, data).result())


class ReadsAtOnce(LateModel):
    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        return CopyModel.read_blocks(self, group, blocks, out)


class ReadsWhenAsked(LateModel):
    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        blocks = blocks.copy()
        return WhenAsked(lambda: CopyModel.read_blocks(self, group, blocks, out), self._settle)


class WhenAsked(Ticket[None]):
    """Reads at the very end, after all that was issued since."""

    def __init__(self, read: Callable[[], Ticket[None]], settle: Callable[[], None]) -> None:
        self._read = read
        self._settle = settle

    def done(self) -> bool:
        return False

    def result(self) -> None:
        self._settle()
        self._read()


class BackwardsOrder(Order):
    """Runs what is waited for before what was issued earlier."""

    def run_to(self, job: Job[Any]) -> None:
        if not job.finished:
            self._jobs.remove(job)
            job.run()
        while self._jobs:
            self._jobs.popleft().run()


class BackwardsModel(LateModel):
    _orders = BackwardsOrder


class TokensWhenAsked(LatePending):
    """A slot keeps its token when the host has asked for it, not before."""

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        slots = columns.slot.copy()
        quiet = copy_of(columns)
        quiet.slot[:] = -1
        return Written(super().sample(rows, quiet, late), self._registers, slots)


class Written(Ticket[Tokens]):
    """Tokens that are entered in their slots by whoever waits for them."""

    def __init__(self, inner: Ticket[Tokens], registers: Registers, slots: I32) -> None:
        self._inner, self._registers, self._slots = inner, registers, slots

    def done(self) -> bool:
        return self._inner.done()

    def result(self) -> Tokens:
        tokens = self._inner.result()
        self._registers.write(self._slots, tokens.ids)
        return tokens


class WhenAskedProgram(LateProgram):
    _pending = TokensWhenAsked


class Unsampled(LateProgram):
    """~v is looked up when a step is issued, before the step that samples it has run."""

    def run(self, batch: Batch) -> Pending:
        known = copy_of(batch)
        known.tokens[:] = self._state.registers.resolve(batch.tokens)
        return super().run(known)


MUTANTS = (
    mutant(
        "batch-kept",
        "a step in flight reads the arrays that the core has taken back",
        "steps",
        "cache",
        base=LatePlatform,
        program=KeepsBatch,
    ),
    mutant(
        "columns-kept",
        "sampling reads the arrays that the core has taken back",
        "steps",
        base=LatePlatform,
        program=ColumnsKept,
    ),
    mutant(
        "blocks-overwritten-early",
        "copy_blocks overwrites a block before the steps that read it have run",
        "cache",
        "steps",
        base=LatePlatform,
        model=CopiesAtOnce,
    ),
    mutant(
        "transfer-overwrites-early",
        "write_blocks overwrites a block before the steps that read it have run",
        "cache",
        "steps",
        base=LatePlatform,
        model=WritesAtOnce,
    ),
    mutant(
        "transfer-data-kept",
        "write_blocks reads the core's array later than at its call",
        "cache",
        "steps",
        base=LatePlatform,
        model=KeepsData,
    ),
    mutant(
        "transfer-reads-early",
        "read_blocks reads before the steps issued earlier have written",
        "cache",
        "steps",
        base=LatePlatform,
        model=ReadsAtOnce,
    ),
    mutant(
        "transfer-reads-late",
        "read_blocks reads what was written after its call",
        "cache",
        "steps",
        base=LatePlatform,
        model=ReadsWhenAsked,
    ),
    mutant(
        "order-reversed",
        "what is waited for runs before what was issued earlier",
        "steps",
        base=LatePlatform,
        model=BackwardsModel,
    ),
    mutant(
        "slots-when-asked",
        "a slot has its token only after the host asked for it",
        "steps",
        base=LatePlatform,
        program=WhenAskedProgram,
    ),
    mutant(
        "slots-looked-up-early",
        "~v is looked up when a step is issued",
        "steps",
        base=LatePlatform,
        program=Unsampled,
    ),
)
