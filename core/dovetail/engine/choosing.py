"""Rows whose tokens the core draws itself, because their samplers are none of the contract's.

Their logits are fetched when the step is launched and wait until the token before is known; the id goes to the device
as the target of the row, so that it reaches the slot's register and log-probabilities are those of every other row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dovetail.platform import F32, I32, LateEdits, Pending, SamplingColumns, Ticket
from dovetail.request import Request
from dovetail.samplers import Chooser
from dovetail.scheduler import Sequence

Index = NDArray[np.intp]


class Fetched:
    """Logits of some of a step's drawn rows, on their way."""

    def __init__(self, places: list[int], ticket: Ticket[F32]) -> None:
        self._at = {place: at for at, place in enumerate(places)}
        self._ticket = ticket

    def __contains__(self, place: int) -> bool:
        return place in self._at

    def row(self, place: int) -> F32:
        """[V]; waits for the step."""
        row: F32 = self._ticket.result()[self._at[place]]
        return row


class Choosers:
    """The choosers of all requests that have one."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._by_request: dict[str, Chooser] = {}

    def admit(self, request: Request) -> None:
        """A request has come."""
        if Chooser.needed(request):
            self._by_request[request.id] = Chooser(request, self._vocab_size)

    def forget(self, request_id: str) -> None:
        """It has ended."""
        self._by_request.pop(request_id, None)

    def fetch(self, pending: Pending, rows: I32, drawing: list[Sequence]) -> Fetched | None:
        """Ask for the logits of the drawn rows that are chosen here; None if there are none."""
        if not self._by_request:
            return None
        places = [
            at for at, sequence in enumerate(drawing) if sequence.request.id in self._by_request
        ]
        if not places:
            return None
        return Fetched(places, pending.fetch("logits", rows[places]))

    def choose(
        self,
        fetched: Fetched,
        which: Index,
        drawing: list[Sequence],
        columns: SamplingColumns,
        late: LateEdits | None,
    ) -> SamplingColumns:
        """The columns of rows `which` of a step, with the ids chosen here as targets.

        A row whose logits are no finite numbers is left to the device, which says so. One whose request has ended
        draws what nobody reads.
        """
        targets = columns.target.copy()
        for at, place in enumerate(which.tolist()):
            if place not in fetched:
                continue
            chooser = self._by_request.get(drawing[place].request.id)
            if chooser is None:
                continue
            logits = edited(fetched.row(place), at, late)
            chosen = chooser.choose(logits, int(columns.position[at]))
            if chosen is not None:
                targets[at] = chosen
        return replace(columns, target=targets)


def edited(logits: F32, at: int, late: LateEdits | None) -> F32:
    """Logits [V] of sampled row `at` after edits and mask, as platform.LateEdits has them."""
    if late is None:
        return logits
    mine = late.rows == at
    ids, factors = late.ids[mine], late.factors[mine]
    if not np.isfinite(logits[logits.argmax()]):
        return logits  # an edit could hide what makes the row fail
    logits = logits.copy()
    values = logits[ids]
    logits[ids] = np.where(values > 0, values / factors, values * factors) + late.addends[mine]
    for mask in late.masks[late.mask_rows == at]:
        bits = np.unpackbits(mask.astype("<u4", copy=False).view(np.uint8), bitorder="little")
        logits[bits[: logits.size] == 0] = -np.inf
    return logits
