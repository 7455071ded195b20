"""What the checks of steps and draws start from: a decoder whose sequences are computed, and what should be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dovetail.platform import F32, LateEdits, Pending, Tokens

from dovetail_sdk.conformance.check import expect
from dovetail_sdk.conformance.context import Context
from dovetail_sdk.conformance.driving import Row, Session, columns, sample
from dovetail_sdk.conformance.tiny import Tiny, prompt
from dovetail_sdk.sampling import HostSampler

LOGPROB_ERROR = 1e-3
"""Largest difference of a log-probability from the one computed from the same logits."""


class Bench:
    """The decoder with a row for each of n sequences of some tokens, all of them computed."""

    def __init__(self, context: Context, lengths: Sequence[int] = (5, 3, 8, 1, 6)) -> None:
        self.config = context.main
        self.session: Session = Tiny(windows=(None, 6)).open(context, self.config)
        self.depth = context.capabilities.steps_in_flight
        self.most = context.capabilities.top_logprobs
        self.prompts = [prompt(length, seed) for seed, length in enumerate(lengths)]
        self.slots = [7, 2, 11, 5, 3][: len(lengths)]
        need = self.session.need(16)
        self.blocks = [
            [1 + need * index + block for block in range(need)] for index in range(len(lengths))
        ]

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    @property
    def last(self) -> list[int]:
        """Index of the last token of each prompt in a step of all of them."""
        ends = np.cumsum([len(tokens) for tokens in self.prompts])
        return [int(end) - 1 for end in ends]

    def rows(self, order: Sequence[int] | None = None) -> list[Row]:
        """The prompts."""
        order = range(len(self.prompts)) if order is None else order
        return [Row(self.prompts[i], 0, self.blocks[i], self.slots[i]) for i in order]

    def begin(self) -> Pending:
        """Compute all prompts; one output per row."""
        return self.session.run(self.rows(), self.last)

    def next_rows(self, length: int, order: Sequence[int], tokens: Sequence[int] = ()) -> list[Row]:
        """A token more for rows that have `length` more than their prompts; by slot unless given."""
        return [
            Row(
                [tokens[at] if tokens else ~self.slots[i]],
                len(self.prompts[i]) + length,
                self.blocks[i],
                self.slots[i],
            )
            for at, i in enumerate(order)
        ]


def definition(logits: F32, late: LateEdits | None = None, **fields: Any) -> Tokens:
    """What must be sampled from logits [n, V], all rows."""
    count = len(logits)
    rows = np.arange(count, dtype=np.int32)
    return HostSampler(logits.shape[1]).sample(logits, rows, columns(count, **fields), late)


def greedy(bench: Bench, count: int) -> list[list[int]]:
    """Tokens of every sequence, step after step, each step waited for and its tokens given as numbers."""
    found: list[list[int]] = []
    pending = bench.begin()
    for length in range(count):
        ids = sample(pending, range(len(bench.prompts))).result().ids.tolist()
        pending.wait()
        found.append(ids)
        order = range(len(bench.prompts))
        pending = bench.session.run(bench.next_rows(length, order, ids))
    pending.wait()
    return found


def alone(context: Context, tokens: list[int]) -> F32:
    """Logits [V] of the last token, by the reference."""
    with Tiny(windows=(None, 6)).oracle(context, context.main) as oracle:
        return np.asarray(oracle.whole(tokens, list(range(1, oracle.need(len(tokens)) + 1)))[-1])


def require_logprobs(found: Tokens, wanted: Tokens) -> None:
    for name in ("logprobs", "top_logprobs"):
        ours, theirs = getattr(found, name), getattr(wanted, name)
        expect(ours.shape == theirs.shape, f"{name} {ours.shape}, expected {theirs.shape}")
        near = np.isclose(ours, theirs, rtol=0, atol=LOGPROB_ERROR, equal_nan=True)
        expect(near.all(), f"{name} {ours[~near]}, expected {theirs[~near]}")
    same = found.top_ids == wanted.top_ids
    expect(same.all(), f"top_ids {found.top_ids[~same]}, expected {wanted.top_ids[~same]}")
