"""Sampling on the device: edits, masks, draws and log-probabilities, and the token that each slot sampled last."""

from __future__ import annotations

from typing import Any

import numpy as np
from dovetail.errors import PlatformError
from dovetail.platform import F32, I32, LateEdits, SamplingColumns, Ticket, Tokens
from numpy.typing import NDArray

from .array import Array, temporary
from .backend import OpenclBackend
from .programs import SOURCE
from .transfer import Reading

MOST_IDS = 1 << 19
"""Vocabulary up to which the masses of one row cannot overflow (sample.cl)."""


class Registers:
    """The token that each slot sampled last, on the device."""

    def __init__(self, backend: OpenclBackend) -> None:
        self._backend = backend
        self._resolve = backend.programs.function(SOURCE / "registers.cl", "resolve_tokens", "bbb")
        self._tokens = backend.upload(np.zeros(256, np.int32))

    def resolve(self, tokens: I32) -> Array:
        """Tokens [T] on the device, every ~v replaced by what slot v sampled last."""
        given = self._backend.upload(tokens)
        if not (tokens < 0).any():
            return given
        self._grow(int((~tokens).max()))
        found = temporary(self._backend.machine, tokens.shape, "i32")
        self._resolve((tokens.size,), (1,), given.buffer, self._tokens.buffer, found.buffer)
        return found

    def array(self, slots: I32) -> Array:
        """The registers, with room for these slots."""
        self._grow(int(slots.max(initial=0)))
        return self._tokens

    def _grow(self, slot: int) -> None:
        old = self._tokens
        if slot >= old.size:
            machine = self._backend.machine
            self._tokens = self._backend.upload(np.zeros(2 * slot + 2, np.int32))
            machine.issued(
                machine.cl.enqueue_copy(
                    machine.queue, self._tokens.buffer, old.buffer, byte_count=4 * old.size
                )
            )


class DeviceSampler:
    """Draws and scores tokens; raises PlatformError for a vocabulary that is too large."""

    def __init__(self, backend: OpenclBackend, vocab_size: int) -> None:
        if vocab_size > MOST_IDS:
            raise PlatformError(
                f"the vocabulary has {vocab_size} ids; {MOST_IDS} can be sampled from on the device"
            )
        self._backend, self._vocab_size = backend, vocab_size
        self._group = 256 if backend.machine.found.gpu else 16
        self._sample = backend.programs.function(
            SOURCE / "sample.cl", "sample", "bbibibb", GROUP=self._group
        )

    def sample(
        self,
        logits: Array,
        rows: I32,
        columns: SamplingColumns,
        late: LateEdits | None,
        registers: Registers,
    ) -> Ticket[Tokens]:
        """Issue it; the ticket waits.

        logits  [N, V]
        rows    [n]     i32  lines of the logits
        """
        backend, size = self._backend, self._vocab_size
        machine = backend.machine
        count, alternatives = rows.size, max(0, int(columns.logprobs.max(initial=-1)))
        values, broken = self._edited(logits, rows, late)
        results = temporary(machine, (count, 3 + 2 * alternatives), "i32")
        given = backend.upload(
            packed(columns)
        )  # held until it is issued: its memory is reused after
        self._sample(
            (count,),
            (self._group,),
            values.buffer,
            broken.buffer,
            size,
            given.buffer,
            alternatives,
            results.buffer,
            registers.array(columns.slot).buffer,
        )
        return TokensTicket(Reading(machine, results), alternatives)

    def _edited(self, logits: Array, rows: I32, late: LateEdits | None) -> tuple[Array, Array]:
        """The sampled rows as f32 [n, V] after edits and masks, and which of them were not finite before."""
        backend, size = self._backend, self._vocab_size
        function = backend.programs.function(
            SOURCE / "rows.cl", "edited_rows", "biiibbbbbbibb", VALUE=logits.dtype
        )
        plan = np.zeros((rows.size, 3), np.int32)
        plan[:, 2] = -1
        nothing = backend.nothing
        ids, factors, addends, masks = nothing, nothing, nothing, nothing
        if late is not None and late.rows.size:
            plan[:, 0] = np.searchsorted(late.rows, np.arange(rows.size), "left")
            plan[:, 1] = np.searchsorted(late.rows, np.arange(rows.size), "right") - plan[:, 0]
            ids, factors, addends = map(backend.upload, (late.ids, late.factors, late.addends))
        if late is not None and late.mask_rows.size:
            plan[late.mask_rows, 2] = np.arange(late.mask_rows.size)
            masks = backend.upload(late.masks)
        places, plans = backend.upload(rows), backend.upload(plan)
        values = temporary(backend.machine, (rows.size, size), "f32")
        broken = temporary(backend.machine, (rows.size,), "i32")
        function(
            (rows.size,),
            (self._group,),
            *(logits.buffer, logits.at, logits.step, size),
            *(places.buffer, plans.buffer),
            *(ids.buffer, factors.buffer, addends.buffer, masks.buffer, -(-size // 32)),
            *(values.buffer, broken.buffer),
        )
        return values, broken


def packed(columns: SamplingColumns) -> I32:
    """[n, 10] as sample.cl reads them."""
    parts: tuple[NDArray[Any], ...] = (
        columns.slot,
        columns.target,
        columns.temperature.view(np.int32),
        columns.top_k,
        columns.top_p.view(np.int32),
        columns.min_p.view(np.int32),
        columns.seed[:, 0].astype(np.uint32).view(np.int32),
        columns.seed[:, 1].astype(np.uint32).view(np.int32),
        columns.position,
        columns.logprobs,
    )
    return np.stack(parts, axis=1).astype(np.int32, copy=False)


class TokensTicket(Ticket[Tokens]):
    """Tokens on their way."""

    def __init__(self, reading: Reading, alternatives: int) -> None:
        self._reading, self._alternatives = reading, alternatives
        self._tokens: Tokens | None = None

    def done(self) -> bool:
        return self._reading.done()

    def result(self) -> Tokens:
        """The same arrays every time."""
        if self._tokens is None:
            found: I32 = self._reading.result()
            k = self._alternatives
            floats: F32 = found.view(np.float32)
            self._tokens = Tokens(
                ids=found[:, 0].copy(),
                logprobs=floats[:, 2].copy(),
                top_ids=found[:, 3 : 3 + k].copy(),
                top_logprobs=floats[:, 3 + k :].copy(),
                not_finite=found[:, 1] != 0,
            )
        return self._tokens
