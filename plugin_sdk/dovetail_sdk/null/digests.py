"""The cache of the null platform: a digest per token in paged blocks, and contexts computed from them."""

from __future__ import annotations

import numpy as np
from dovetail.platform import I32, Batch, KVLayout
from numpy.typing import NDArray

from dovetail_sdk.batches import I64

from .tokens import U64, mix, steps


class Digests:
    """Blocks [B, S] uint64 per cache group, filled with rubbish until they are written.

    remember  keep each slot's context beside the cache and use it as long as it agrees with the cache's last digest;
              otherwise every step reads all blocks of its rows again
    """

    def __init__(self, layout: KVLayout, num_blocks: tuple[int, ...], *, remember: bool) -> None:
        self.layout = layout
        rng = np.random.default_rng(20)
        self.blocks: tuple[U64, ...] = tuple(
            rng.integers(1, 2**63, (count, layout.block_size), dtype=np.uint64)
            for count in num_blocks
        )
        self._windows = [group.window for group in layout.groups]
        self._remember = remember and self._windows == [None]
        self._slots = _Slots()

    def contexts(self, batch: Batch, tokens: I32) -> U64:
        """[T] contexts of the step's tokens, whose digests are written to the cache; copies are made first."""
        for blocks, copies in zip(self.blocks, batch.copies, strict=True):
            if copies.size:
                blocks[copies[:, 1]] = blocks[copies[:, 0]]
        starts = batch.row_starts[:-1].astype(np.int64)
        lengths = np.diff(batch.row_starts).astype(np.int64)
        rows = np.repeat(np.arange(starts.size), lengths)
        before = self._last_digests(batch)
        digests = before[rows] + _row_sums(steps(tokens, batch.positions[0]), starts, rows)
        where = batch.past.astype(np.int64)[rows] + np.arange(rows.size) - starts[rows]
        size = self.layout.block_size
        for blocks, table in zip(self.blocks, batch.tables, strict=True):
            blocks[table[rows, where // size], where % size] = digests
        if self._remember:
            return self._remembered(batch, before, digests, starts, rows)
        total = np.zeros(rows.size, np.uint64)
        for group, window in enumerate(self._windows or [None]):
            part = self._sums(batch, group, window, digests, starts, lengths)
            total += np.uint64(2 * group + 1) * part
        return total

    def _last_digests(self, batch: Batch) -> U64:
        """[R] digest of the last cached token of each row, 0 if there is none."""
        if not self.blocks:
            return np.zeros(batch.past.size, np.uint64)
        last = np.maximum(batch.past - 1, 0)
        size = self.layout.block_size
        blocks = batch.tables[0][np.arange(last.size), last // size]
        return np.where(batch.past > 0, self.blocks[0][blocks, last % size], np.uint64(0))

    def _remembered(self, batch: Batch, before: U64, digests: U64, starts: I64, rows: I64) -> U64:
        """[T] contexts on top of what the slots remember; rows whose slot is out of date are read anew."""
        slots = self._slots
        slots.grow(int(batch.slots.max(initial=0)))
        known = slots.sums[batch.slots]
        stale = (slots.digests[batch.slots] != before) | (slots.lengths[batch.slots] != batch.past)
        known[batch.past == 0] = 0
        stale &= batch.past > 0
        for row in np.flatnonzero(stale).tolist():
            past = int(batch.past[row])
            seen = self.cached(0, batch.tables[0][row], 0, past)
            known[row] = mix(seen).sum(dtype=np.uint64)
        contexts: U64 = known[rows] + _row_sums(mix(digests), starts, rows)
        ends = batch.row_starts[1:] - 1
        slots.sums[batch.slots] = contexts[ends]
        slots.digests[batch.slots] = digests[ends]
        slots.lengths[batch.slots] = batch.past + np.diff(batch.row_starts)
        return contexts

    def _sums(
        self,
        batch: Batch,
        group: int,
        window: int | None,
        digests: U64,
        starts: I64,
        lengths: I64,
    ) -> U64:
        """[T] sum of mix(digest) over what each token sees in a group, all of it read from the cache."""
        sums = np.empty(digests.size, np.uint64)
        for row, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            past = int(batch.past[row])
            if not self.blocks:
                seen, first = digests[start : start + length], past
            else:
                first = 0 if window is None else max(0, past - window + 1)
                seen = self.cached(group, batch.tables[group][row], first, past + length)
            up_to = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mix(seen), dtype=np.uint64)])
            ends = np.arange(past, past + length) - first + 1
            below = np.zeros_like(ends) if window is None else np.maximum(ends - window, 0)
            sums[start : start + length] = up_to[ends] - up_to[below]
        return sums

    def cached(self, group: int, table: I32, first: int, stop: int) -> U64:
        """[stop - first] digests of a row's positions first .. stop - 1, from its blocks."""
        size = self.layout.block_size
        begin = first // size
        blocks = self.blocks[group][table[begin : -(-stop // size)]]
        return blocks.reshape(-1)[first - begin * size : stop - begin * size]


class _Slots:
    """What each slot's sequence summed up to after its last step."""

    def __init__(self) -> None:
        self.sums: U64 = np.zeros(0, np.uint64)
        self.digests: U64 = np.zeros(0, np.uint64)
        self.lengths: NDArray[np.int32] = np.zeros(0, np.int32)

    def grow(self, slot: int) -> None:
        """Have room for a slot."""
        if slot >= self.sums.size:
            more = 2 * slot + 2 - self.sums.size
            self.sums = np.concatenate([self.sums, np.zeros(more, np.uint64)])
            self.digests = np.concatenate([self.digests, np.zeros(more, np.uint64)])
            self.lengths = np.concatenate([self.lengths, np.zeros(more, np.int32)])


def _row_sums(values: U64, starts: I64, rows: I64) -> U64:
    """[T] running sums that start again at every row."""
    if rows.size == starts.size:
        return values
    sums = np.cumsum(values, dtype=np.uint64)
    offsets = sums[starts] - values[starts]
    return np.asarray(sums - offsets[rows])
