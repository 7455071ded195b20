"""Wrong draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from dovetail.platform import F32, I32, LateEdits, SamplingColumns, Tokens

from dovetail_sdk.sampling import HostSampler
from dovetail_sdk.sampling.edits import Edited, Scratch

from .plant import Mutant, mutant


def changed(change: Callable[[SamplingColumns], SamplingColumns]) -> type[HostSampler]:
    """Draws by other columns."""

    class Changed(HostSampler):
        def sample(
            self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
        ) -> Tokens:
            return super().sample(logits, rows, change(columns), late)

    return Changed


def edited(change: Callable[[LateEdits], LateEdits]) -> type[HostSampler]:
    """Makes other edits."""

    class Edited(HostSampler):
        def sample(
            self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
        ) -> Tokens:
            return super().sample(logits, rows, columns, None if late is None else change(late))

    return Edited


def answered(change: Callable[[Tokens, SamplingColumns], None]) -> type[HostSampler]:
    """Changes what was sampled."""

    class Answered(HostSampler):
        def sample(
            self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
        ) -> Tokens:
            tokens = super().sample(logits, rows, columns, late)
            change(tokens, columns)
            return tokens

    return Answered


def chosen(choose: Callable[[F32, SamplingColumns, int], F32]) -> type[HostSampler]:
    """Draws from other logits [V], one row at a time; log-probabilities are those of the right ones."""

    class Chosen(HostSampler):
        def sample(
            self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
        ) -> Tokens:
            other = logits.copy()
            for index, row in enumerate(rows.tolist()):
                if columns.target[index] < 0 and columns.temperature[index] != 0:
                    other[row] = choose(logits[row], columns, index)
            drawn = super().sample(other, rows, columns, late)
            right = super().sample(logits, rows, replace(columns, target=drawn.ids), late)
            for quiet in np.flatnonzero((columns.target < 0) & (columns.logprobs < 0)).tolist():
                right.logprobs[quiet] = np.nan
            return right

    return Chosen


def top_p_short(logits: F32, columns: SamplingColumns, index: int) -> F32:
    """Without the id that crosses the bound."""
    order, mass = _mass(logits, float(columns.temperature[index]))
    p = float(columns.top_p[index])
    if p >= 1:
        return logits
    kept = max(1, int(np.searchsorted(mass, p * mass[-1])))
    return _only(logits, order[:kept])


def top_p_cold(logits: F32, columns: SamplingColumns, index: int) -> F32:
    """Shares are those at temperature 1."""
    order, mass = _mass(logits, 1.0)
    p = float(columns.top_p[index])
    if p >= 1:
        return logits
    return _only(logits, order[: int(np.searchsorted(mass, p * mass[-1])) + 1])


def paired(size: int) -> I32:
    """0 <-> 1, 2 <-> 3, ..."""
    ids = np.arange(size, dtype=np.int32) ^ 1
    return np.where(ids < size, ids, size - 1).astype(np.int32)


class OtherLane(HostSampler):
    """Word id & 3 of the noise is word (id ^ 1) & 3."""

    def sample(
        self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Tokens:
        tokens = super().sample(logits, rows, columns, late)
        other = paired(logits.shape[-1])
        swapped = super().sample(np.ascontiguousarray(logits[:, other]), rows, columns)
        drawn = (columns.target < 0) & (columns.temperature != 0) & ~tokens.not_finite
        if late is None:
            tokens.ids[drawn] = other[swapped.ids[drawn]]
        return tokens


def _mass(logits: F32, temperature: float) -> tuple[I32, F32]:
    order = np.argsort(-logits, kind="stable").astype(np.int32)
    shares = np.exp((logits[order] - logits[order[0]]) / np.float32(temperature))
    return order, np.cumsum(shares)


def _only(logits: F32, ids: I32) -> F32:
    kept = np.full_like(logits, -np.inf)
    kept[ids] = logits[ids]
    return kept


class TiesToTheHighest(HostSampler):
    def sample(
        self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Tokens:
        tokens = super().sample(logits, rows, columns, late)
        edited = None
        if late is not None:
            edited = Edited(logits, rows.tolist(), late, Scratch(logits.shape[1]))
        for index, row in enumerate(rows.tolist()):
            greedy = columns.target[index] < 0 and columns.temperature[index] == 0
            if greedy and not tokens.not_finite[index]:
                if edited is not None and index in edited:
                    values = edited.values(index)
                else:
                    values = logits[row]
                tokens.ids[index] = values.size - 1 - int(values[::-1].argmax())
        return tokens


class RowsIgnored(HostSampler):
    def sample(
        self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Tokens:
        return super().sample(logits, np.arange(rows.size, dtype=np.int32), columns, late)


class EditsByOutput(HostSampler):
    """`LateEdits.rows` are taken for rows of the step's outputs."""

    def sample(
        self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Tokens:
        if late is not None:
            place = {row: index for index, row in enumerate(rows.tolist())}
            found = [place.get(row, -1) for row in late.rows.tolist()]
            keep = np.array(found, np.int32)
            inside = keep >= 0
            late = replace(
                late,
                rows=np.sort(keep[inside]),
                ids=late.ids[inside],
                factors=late.factors[inside],
                addends=late.addends[inside],
            )
        return super().sample(logits, rows, columns, late)


class EditsStay(HostSampler):
    """Edits are written into the logits, and found there by whoever samples them again."""

    def sample(
        self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Tokens:
        tokens = super().sample(logits, rows, columns, late)
        if late is not None and logits.flags.writeable:
            logits[rows[late.rows], late.ids] += late.addends
        return tokens


class LogprobsBeforeEdits(HostSampler):
    def sample(
        self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Tokens:
        tokens = super().sample(logits, rows, columns, late)
        plain = super().sample(logits, rows, replace(columns, target=tokens.ids))
        asked = ~np.isnan(tokens.logprobs)
        tokens.logprobs[asked] = plain.logprobs[asked]
        tokens.top_ids[:], tokens.top_logprobs[:] = plain.top_ids, plain.top_logprobs
        return tokens


class LogprobsAfterTemperature(HostSampler):
    def sample(
        self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Tokens:
        tokens = super().sample(logits, rows, columns, late)
        warm = logits.copy()
        scale = np.where(columns.temperature > 0, columns.temperature, 1)
        warm[rows] = logits[rows] / scale[:, None]
        other = super().sample(warm, rows, replace(columns, target=tokens.ids), late)
        asked = ~np.isnan(tokens.logprobs)
        tokens.logprobs[asked] = other.logprobs[asked]
        return tokens


class LogprobsOfCandidates(HostSampler):
    """Log-probabilities are among the top-k, not among all."""

    def sample(
        self, logits: F32, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Tokens:
        tokens = super().sample(logits, rows, columns, late)
        for index, row in enumerate(rows.tolist()):
            k = int(columns.top_k[index])
            if 0 < k < logits.shape[1] and not np.isnan(tokens.logprobs[index]):
                best = np.sort(logits[row])[::-1][:k].astype(np.float64)
                share = float(np.exp(best - best[0]).sum())
                own = float(logits[row, tokens.ids[index]])
                tokens.logprobs[index] = own - best[0] - np.log(share)
        return tokens


def _seed_by_row(columns: SamplingColumns) -> SamplingColumns:
    seed = np.zeros_like(columns.seed)
    seed[:, 0] = np.arange(len(seed))
    return replace(columns, seed=seed)


def _one_seed(columns: SamplingColumns) -> SamplingColumns:
    return replace(columns, seed=np.repeat(columns.seed[:1], len(columns.seed), axis=0))


def _one_temperature(columns: SamplingColumns) -> SamplingColumns:
    """Whether a row is drawn stays its own."""
    warm = columns.temperature.max(initial=0)
    return replace(
        columns, temperature=np.where(columns.temperature > 0, warm, 0).astype(np.float32)
    )


def _greedy_if_any(columns: SamplingColumns) -> SamplingColumns:
    cold = columns.temperature.min(initial=1)
    return replace(columns, temperature=columns.temperature * np.float32(cold > 0))


def _hide_not_finite(tokens: Tokens, columns: SamplingColumns) -> None:
    tokens.not_finite[:] = False


def _spread_not_finite(tokens: Tokens, columns: SamplingColumns) -> None:
    tokens.not_finite[:] = tokens.not_finite.any()


def _ascending(tokens: Tokens, columns: SamplingColumns) -> None:
    tokens.top_ids[:] = tokens.top_ids[:, ::-1].copy()
    tokens.top_logprobs[:] = tokens.top_logprobs[:, ::-1].copy()


def _of_first_row(tokens: Tokens, columns: SamplingColumns) -> None:
    tokens.top_ids[:] = tokens.top_ids[:1]
    tokens.top_logprobs[:] = tokens.top_logprobs[:1]


def _five_at_most(tokens: Tokens, columns: SamplingColumns) -> None:
    tokens.top_ids[:, 5:] = -1
    tokens.top_logprobs[:, 5:] = np.nan


def _without_edits(late: LateEdits) -> LateEdits:
    none = np.zeros(0, np.int32)
    nothing = np.zeros(0, np.float32)
    return replace(late, rows=none, ids=none, factors=nothing, addends=nothing)


def _without_mask(late: LateEdits) -> LateEdits:
    return replace(late, mask_rows=late.mask_rows[:0], masks=late.masks[:0])


def _bits_reversed(late: LateEdits) -> LateEdits:
    bits = np.unpackbits(late.masks.view(np.uint8), axis=-1, bitorder="big")
    masks = np.packbits(bits, axis=-1, bitorder="little").view(np.uint32)
    return replace(late, masks=masks.reshape(late.masks.shape))


def _mask_of_first(late: LateEdits) -> LateEdits:
    return replace(late, masks=np.repeat(late.masks[:1], len(late.masks), axis=0))


def draws(name: str, breaks: str, sampler: type[HostSampler], **parts: Any) -> Mutant:
    return mutant(name, breaks, "steps", sampler=sampler, **parts)


MUTANTS = (
    draws(
        "seed-by-row", "noise is keyed by the row's number, not by its seed", changed(_seed_by_row)
    ),
    draws("seed-of-first-row", "all rows are drawn with the first one's seed", changed(_one_seed)),
    draws(
        "seed-words-swapped",
        "low and high word of the seed change places",
        changed(lambda c: replace(c, seed=np.ascontiguousarray(c.seed[:, ::-1]))),
    ),
    draws(
        "seed-low-word",
        "the high word of the seed is ignored",
        changed(lambda c: replace(c, seed=c.seed * np.array([1, 0], np.uint32))),
    ),
    draws(
        "draw-position-ignored",
        "every draw of a sequence has the same noise",
        changed(lambda c: replace(c, position=np.zeros_like(c.position))),
    ),
    draws("noise-of-neighbour", "ids 2i and 2i + 1 have each other's noise", OtherLane),
    draws(
        "temperature-ignored",
        "draws are made at temperature 1",
        changed(lambda c: replace(c, temperature=(c.temperature > 0).astype(np.float32))),
    ),
    draws(
        "temperature-of-one-row",
        "all draws are made at the highest temperature of the step",
        changed(_one_temperature),
    ),
    draws(
        "greedy-if-any",
        "one row without temperature makes all rows greedy",
        changed(_greedy_if_any),
    ),
    draws(
        "top-k-plus-one",
        "top_k keeps one id too many",
        changed(lambda c: replace(c, top_k=(c.top_k + (c.top_k > 0)).astype(np.int32))),
    ),
    draws(
        "top-k-ignored",
        "top_k keeps everything",
        changed(lambda c: replace(c, top_k=np.zeros_like(c.top_k))),
    ),
    draws("top-p-short", "top_p leaves out the id that reaches the bound", chosen(top_p_short)),
    draws("top-p-cold", "top_p is applied before temperature", chosen(top_p_cold)),
    draws(
        "top-p-ignored",
        "top_p keeps everything",
        changed(lambda c: replace(c, top_p=np.ones_like(c.top_p))),
    ),
    draws(
        "min-p-ignored",
        "min_p keeps everything",
        changed(lambda c: replace(c, min_p=np.zeros_like(c.min_p))),
    ),
    draws("ties-to-the-highest", "the highest of equal logits wins", TiesToTheHighest),
    draws(
        "sampled-rows-ignored", "the first rows are sampled, whichever were asked for", RowsIgnored
    ),
    draws(
        "target-ignored",
        "rows that are to be scored are drawn",
        changed(lambda c: replace(c, target=np.full_like(c.target, -1))),
    ),
    draws("edits-ignored", "edits change nothing", edited(_without_edits)),
    draws("mask-ignored", "masks forbid nothing", edited(_without_mask)),
    draws(
        "mask-bits-reversed",
        "bits of a mask are read from the high end of each byte",
        edited(_bits_reversed),
    ),
    draws("mask-of-first-row", "all masked rows have the first one's mask", edited(_mask_of_first)),
    draws(
        "bias-ignored",
        "edits multiply and do not add",
        edited(lambda e: replace(e, addends=np.zeros_like(e.addends))),
    ),
    draws(
        "penalty-ignored",
        "edits add and do not multiply",
        edited(lambda e: replace(e, factors=np.ones_like(e.factors))),
    ),
    draws(
        "penalty-turned",
        "factors multiply what they should divide",
        edited(lambda e: replace(e, factors=np.float32(1) / e.factors)),
    ),
    draws("edits-by-output", "edits count the step's outputs, not the sampled rows", EditsByOutput),
    draws(
        "edits-stay", "edits of one draw are still there at the next of the same step", EditsStay
    ),
    draws(
        "logprobs-before-edits",
        "log-probabilities are of the logits before edits",
        LogprobsBeforeEdits,
    ),
    draws(
        "logprobs-after-temperature",
        "log-probabilities are of the logits after temperature",
        LogprobsAfterTemperature,
    ),
    draws(
        "logprobs-of-candidates",
        "log-probabilities are shares among the top_k",
        LogprobsOfCandidates,
    ),
    draws(
        "alternatives-ascending", "the least likely alternative comes first", answered(_ascending)
    ),
    draws(
        "alternatives-of-first-row",
        "all rows report the first one's alternatives",
        answered(_of_first_row),
    ),
    draws(
        "alternatives-short",
        "five alternatives at most, where 20 are claimed",
        answered(_five_at_most),
    ),
    draws(
        "not-finite-hidden", "rows that are not finite are never marked", answered(_hide_not_finite)
    ),
    draws(
        "not-finite-spreads",
        "one row that is not finite marks them all",
        answered(_spread_not_finite),
    ),
)
