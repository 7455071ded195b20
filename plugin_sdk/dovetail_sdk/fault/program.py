"""Steps that are late, fail, hang, or answer with nonsense."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from typing import Generic, TypeVar

import numpy as np
from dovetail.errors import DeviceLost
from dovetail.platform import (
    F32,
    I32,
    Batch,
    LateEdits,
    Pending,
    Program,
    SamplingColumns,
    Ticket,
    Tokens,
)

from .state import State

A = TypeVar("A")
NONSENSE = 0


class FaultProgram(Program):
    """Counts the steps; raises for those that fail when they are issued."""

    def __init__(self, state: State, inner: Program) -> None:
        self.shape = inner.shape
        self._state = state
        self._inner = inner
        self._free_at = 0.0

    def run(self, batch: Batch) -> Pending:
        """Raises the planted error of this step, if it has one."""
        state = self._state
        state.steps += 1
        state.faults.raise_at(state.steps)
        self._free_at = max(self._free_at, time.monotonic()) + state.faults.slow
        return FaultPending(state, self._inner.run(batch), state.steps, self._free_at)


class FaultPending(Pending):
    """A step whose end may be late, an error, or never.

    ends_at  on the monotonic clock: steps take their time one after the other
    """

    def __init__(self, state: State, inner: Pending, step: int, ends_at: float) -> None:
        self._state = state
        self._inner = inner
        self._step = step
        self._ends_at = ends_at

    def done(self) -> bool:
        hangs = self._state.faults.at("hang", self._step)
        return not hangs and time.monotonic() >= self._ends_at and self._inner.done()

    def wait(self) -> None:
        """Raises the planted error of this step, if it has one that is raised late."""
        faults = self._state.faults
        if faults.at("hang", self._step):
            self._state.closed.wait()
            raise DeviceLost(f"planted: step {self._step} hung until the model was closed")
        faults.raise_at(self._step, "-late")
        time.sleep(max(0.0, self._ends_at - time.monotonic()))
        self._inner.wait()

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        """Raises the planted error of this step, if it has one for sampling."""
        self._state.faults.raise_at(self._step, "-sample")
        return FaultTicket(self, self._inner.sample(rows, columns, late), self._spoil)

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        return FaultTicket(self, self._inner.fetch(output, rows), lambda numbers: numbers)

    def _spoil(self, tokens: Tokens) -> Tokens:
        faults, rows = self._state.faults, tokens.ids.size
        if faults.at("short-result", self._step):
            return _take(tokens, np.arange(rows - 1))
        if faults.at("long-result", self._step):
            return _take(tokens, np.append(np.arange(rows), 0))
        if faults.at("not-finite", self._step) and rows:
            tokens.not_finite[0] = True
            tokens.ids[0] = NONSENSE
        return tokens


class FaultTicket(Ticket[A], Generic[A]):
    """A result that comes no sooner than its step ends, and fails as it does."""

    def __init__(self, step: FaultPending, inner: Ticket[A], spoil: Callable[[A], A]) -> None:
        self._step = step
        self._inner = inner
        self._spoil = spoil

    def done(self) -> bool:
        return self._step.done() and self._inner.done()

    def result(self) -> A:
        """Raises what `FaultPending.wait` raises."""
        self._step.wait()
        return self._spoil(self._inner.result())


def _take(tokens: Tokens, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Tokens:
    """Some rows of a result."""
    return Tokens(**{field.name: getattr(tokens, field.name)[rows] for field in fields(Tokens)})
