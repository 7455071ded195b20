"""Sampling on the device: everything is issued and nothing waited for until somebody asks for the tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from dovetail.platform import I32, LateEdits, SamplingColumns, Ticket, Tokens
from torch import Tensor

from dovetail_sdk.runner import Event

from .draw import PLAIN, Sampling
from .queue import Queue
from .registers import DeviceRegisters
from .staging import Staging


class DeviceSampler:
    """Draws and scores tokens by the rules of SamplingColumns, LateEdits and Tokens. One thread at a time.

    functions  any of PLAIN's that the platform replaces
    """

    def __init__(self, queue: Queue, staging: Staging, functions: Sampling | None = None) -> None:
        self._queue, self._staging = queue, staging
        self._functions = {**PLAIN, **(functions or {})}

    def sample(
        self,
        logits: Tensor,
        rows: I32,
        columns: SamplingColumns,
        late: LateEdits | None,
        registers: DeviceRegisters,
    ) -> Ticket[Tokens]:
        """One token for each of n rows of logits [N, V] f32, which are not written to."""
        given = columns
        registers.reserve(given.slot)
        if late is not None and not (late.rows.size or late.mask_rows.size):
            late = None
        sent = self._staging.send(
            [
                rows,
                given.slot,
                given.target,
                given.temperature,
                given.top_k,
                given.top_p,
                given.min_p,
                given.seed,
                given.position,
            ]
        )
        at, slot, target, *how = sent
        whole = rows.size == len(logits) and bool((rows == np.arange(rows.size)).all())
        some = logits if whole and late is None else logits.index_select(0, at)
        broken = None
        if late is not None:
            broken = ~some.amax(1).isfinite()
            self._change(some, late)
        drawn = given.target < 0
        warm = drawn & (given.temperature > 0)
        cut = (given.top_k > 0) | (given.top_p < 1) | (given.min_p > 0)
        ids = self._functions["draw"](
            some, *how, limited=bool((warm & cut).any()), random=bool(warm.any())
        )
        if not drawn.all():
            ids = torch.where(target < 0, ids, target)
        registers.write(slot, ids)
        return self._result(some, ids, broken, given)

    def _change(self, logits: Tensor, late: LateEdits) -> None:
        if late.rows.size:
            sent = self._staging.send([late.rows, late.ids, late.factors, late.addends])
            self._functions["edit"](logits, *sent)
        if late.mask_rows.size:
            self._functions["mask"](logits, *self._staging.send([late.mask_rows, late.masks]))

    def _result(
        self, logits: Tensor, ids: Tensor, broken: Tensor | None, columns: SamplingColumns
    ) -> Ticket[Tokens]:
        """All numbers of the result as words, in one copy to the host."""
        peak = logits.amax(1)
        wrong = ~peak.isfinite() if broken is None else broken | ~peak.isfinite()
        words = [ids[:, None], wrong.int()[:, None]]
        scored = (columns.target >= 0) | (columns.logprobs >= 0)
        most = min(max(0, int(columns.logprobs.max(initial=-1))), logits.shape[1])
        if scored.any():
            words += score(logits, peak, ids, most)
        result = torch.cat(words, dim=1)
        host = torch.empty(result.shape, dtype=torch.int32, pin_memory=self._queue.pinned)
        host.copy_(result, non_blocking=True)
        return SampledTokens(host, self._queue.record(), scored, columns.logprobs.copy(), most)


def score(logits: Tensor, peak: Tensor, ids: Tensor, most: int) -> list[Tensor]:
    """Bits of log-probabilities [n, 1], and of the `most` largest: ids [n, most] and log-probabilities [n, most].

    Ties go to the lowest id: what is ranked is the logit's bits, made to sort as numbers do, above those of ~id.
    """
    exact = logits.double()
    logsum = peak.double() + (exact - peak[:, None]).exp().sum(1).log()
    own = exact.gather(1, ids.clamp(min=0).long()[:, None]) - logsum[:, None]
    words = [own.float().view(torch.int32)]
    if most:
        bits = (logits + 0.0).view(torch.int32).long()  # + 0.0: there is one zero
        ordered = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
        names = torch.arange(logits.shape[1], device=logits.device)
        ranked = (ordered << 32) + (0xFFFFFFFF - names)
        best = ranked.topk(most, dim=1).indices
        words += [best.int(), (exact.gather(1, best) - logsum[:, None]).float().view(torch.int32)]
    return words


@dataclass(slots=True)
class SampledTokens(Ticket[Tokens]):
    """Tokens on their way to the host.

    words     [n, 2], or [n, 3 + 2 * most] where anything was scored
    scored    [n]  rows whose log-probability is wanted
    logprobs  [n]  alternatives that are wanted, -1 for none
    """

    words: Tensor
    event: Event
    scored: np.ndarray[tuple[int], np.dtype[np.bool_]]
    logprobs: I32
    most: int
    _tokens: Tokens | None = None

    def done(self) -> bool:
        return self.event.done()

    def result(self) -> Tokens:
        if self._tokens is None:
            self.event.wait()
            self._tokens = self._read(self.words.numpy())
        return self._tokens

    def _read(self, words: I32) -> Tokens:
        count, most = len(words), self.most
        wide = max(0, int(self.logprobs.max(initial=-1)))
        tokens = Tokens(
            ids=words[:, 0].copy(),
            logprobs=np.full(count, np.nan, np.float32),
            top_ids=np.full((count, wide), -1, np.int32),
            top_logprobs=np.full((count, wide), np.nan, np.float32),
            not_finite=words[:, 1] != 0,
        )
        good = self.scored & ~tokens.not_finite
        if self.scored.any():
            tokens.logprobs[good] = words[good, 2].view(np.float32)
        if most:
            shown = good[:, None] & (np.arange(most) < self.logprobs[:, None])
            scores = np.ascontiguousarray(words[:, 3 + most :]).view(np.float32)
            tokens.top_ids[:, :most] = np.where(shown, words[:, 3 : 3 + most], -1)
            tokens.top_logprobs[:, :most] = np.where(shown, scores, np.nan)
        return tokens
