"""The sequences that have a slot and advance, in order, and what is constant about them as columns."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import numpy as np

from .line import discard, order_of
from .plan import Index
from .sequence import Sequence
from .slots import I32, Slots


@dataclass(slots=True)
class View:
    """The running sequences as of some moment, R of them in order.

    sequences  not changed when the running ones change
    slots      [R] intp
    limits     [R] i32
    scoring    (row, sequence) of those whose prompt is being scored
    all_draw   none of them only computes its prompt
    any_late   some have rows that must wait for the token before
    """

    sequences: list[Sequence]
    slots: Index
    limits: I32
    scoring: list[tuple[int, Sequence]]
    all_draw: bool
    any_late: bool


class Running:
    """Running sequences, first in the policy's order first. Victims of preemption come off the end."""

    def __init__(self, slots: Slots) -> None:
        self.sequences: list[Sequence] = []
        self._slots = slots
        self._view: View | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    def insert(self, sequence: Sequence) -> None:
        insort(self.sequences, sequence, key=order_of)
        self._view = None

    def remove(self, sequence: Sequence) -> None:
        discard(self.sequences, sequence)
        self._view = None

    def view(self) -> View:
        """As of now; the same object until a sequence comes or goes."""
        if self._view is None:
            sequences = list(self.sequences)
            slots = np.array([sequence.slot for sequence in sequences], np.intp)
            self._view = View(
                sequences,
                slots,
                self._slots.limit[slots],
                [pair for pair in enumerate(sequences) if pair[1].scoring],
                bool(self._slots.draws[slots].all()),
                bool(self._slots.late[slots].any()),
            )
        return self._view
