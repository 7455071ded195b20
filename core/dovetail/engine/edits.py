"""Edits to logits that a request asks for: bias, penalties, words not to be written, and no end before min_tokens.

Where a request has a window (repeat_last_n) its counts are made anew at each token.

An edit of one vocabulary id is a factor and an addend (platform.LateEdits). Bias and min_tokens are known when a step
is launched; penalties need every token before, so their rows are sampled late.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dovetail.platform import F32, I32, U32, LateEdits
from dovetail.request import Request
from dovetail.samplers import Dry

FORBIDDEN = np.float32(-np.inf)


def _holds_back(request: Request) -> bool:
    """Whether ids that end it are forbidden for a while; a grammar's mask says so itself, as far as it can."""
    params = request.sampling
    return bool(params.min_tokens and request.stop_ids) and params.grammar is None


class Edits:
    """The edits of one request, kept up to date as it grows.

    One entry per vocabulary id that can differ from the model's logit: its bias, how often it was generated, and
    whether it may not come before min_tokens.
    """

    __slots__ = (
        "_bias",
        "_counts",
        "_dry",
        "_ends",
        "_ids",
        "_index",
        "_known",
        "_seen",
        "_size",
        "request",
    )

    def __init__(self, request: Request) -> None:
        self.request = request
        params = request.sampling
        repeats = params.penalised and params.repetition_penalty != 1
        repeated = set(request.prompt) if repeats else set()
        ends = request.stop_ids if _holds_back(request) else frozenset()
        ids = sorted(repeated | ends | set(params.logit_bias))
        self._index = {token: at for at, token in enumerate(ids)}
        self._size = len(ids)
        self._ids = np.array(ids, np.int32)
        self._bias = np.array([params.logit_bias.get(token, 0.0) for token in ids], np.float32)
        self._counts = np.zeros(self._size, np.float32)
        self._seen = np.array([token in repeated for token in ids], np.bool_)
        self._ends = np.array([token in ends for token in ids], np.bool_)
        self._known = 0
        self._dry = Dry(params, request.breakers) if params.dry else None

    @staticmethod
    def needed(request: Request) -> bool:
        """Whether the request edits logits at all."""
        params = request.sampling
        edited = params.penalised or params.dry or bool(params.logit_bias) or bool(request.bad)
        return edited or _holds_back(request)

    def row(self, tokens: list[int], position: int) -> tuple[I32, F32, F32]:
        """ids, factors and addends for the draw of the token at `position` of its sequence.

        tokens  the sequence's known tokens, prompt included; only penalties read the generated ones
        """
        params = self.request.sampling
        dry = self._dry.penalties(tokens) if self._dry is not None else {}
        repeated = [self._at(token) for token in dry]
        bad = [self._at(token) for token in self._completing(tokens)]
        counts, seen = self._counted(tokens) if params.penalised else (self._counts, self._seen)
        n = self._size
        addends = self._bias[:n] - params.frequency_penalty * counts[:n]
        addends -= params.presence_penalty * (counts[:n] > 0)
        addends[repeated] -= np.array(list(dry.values()), np.float32)
        addends[bad] = FORBIDDEN
        if position - len(self.request.prompt) < params.min_tokens:
            addends[self._ends[:n]] = FORBIDDEN
        factors = np.where(seen[:n], np.float32(params.repetition_penalty), np.float32(1))
        return self._ids[:n], factors, addends

    def _completing(self, tokens: list[int]) -> set[int]:
        """Ids that would complete a bad word, of which all else was generated."""
        generated = len(tokens) - len(self.request.prompt)
        return {
            word[-1]
            for word in self.request.bad
            if len(word) - 1 <= generated and tokens[len(tokens) - len(word) + 1 :] == word[:-1]
        }

    def _counted(self, tokens: list[int]) -> tuple[F32, NDArray[np.bool_]]:
        """How often each id was generated, and whether it counts as repeated; among the last repeat_last_n tokens."""
        last = self.request.sampling.repeat_last_n
        if last < 0:
            self._learn(tokens)
            return self._counts, self._seen
        window = tokens[max(0, len(tokens) - last) :]
        generated = tokens[max(len(self.request.prompt), len(tokens) - last) :]
        found = [self._at(token) for token in window]
        counts, seen = np.zeros(len(self._ids), np.float32), np.zeros(len(self._ids), np.bool_)
        np.add.at(counts, found[len(window) - len(generated) :], np.float32(1))
        seen[found] = True
        return counts, seen

    def _learn(self, tokens: list[int]) -> None:
        start = max(self._known, len(self.request.prompt))
        for token in tokens[start:]:
            at = self._at(token)
            self._counts[at] += 1
            self._seen[at] = True
        self._known = len(tokens)

    def _at(self, token: int) -> int:
        at = self._index.get(token)
        return self._append(token) if at is None else at

    def _append(self, token: int) -> int:
        at = self._size
        if at == len(self._ids):
            more = max(64, at)
            self._ids = np.concatenate([self._ids, np.zeros(more, np.int32)])
            self._bias = np.concatenate([self._bias, np.zeros(more, np.float32)])
            self._counts = np.concatenate([self._counts, np.zeros(more, np.float32)])
            self._seen = np.concatenate([self._seen, np.zeros(more, np.bool_)])
            self._ends = np.concatenate([self._ends, np.zeros(more, np.bool_)])
        self._ids[at] = token
        self._index[token] = at
        self._size = at + 1
        return at


NO_IDS = np.zeros(0, np.int32)
NO_FLOATS = np.zeros(0, np.float32)
NO_MASKS = np.zeros((0, 0), np.uint32)


def join(
    rows: Iterable[tuple[int, tuple[I32, F32, F32]]], masks: tuple[I32, U32] | None = None
) -> LateEdits | None:
    """The edits of several sampled rows as one; rows come in rising order of their index. None if there are none.

    masks  the rows that have one, and the masks
    """
    indices, ids, factors, addends = [], [], [], []
    for index, (row_ids, row_factors, row_addends) in rows:
        indices.append(np.full(len(row_ids), index, np.int32))
        ids.append(row_ids)
        factors.append(row_factors)
        addends.append(row_addends)
    mask_rows, bits = masks or (NO_IDS, NO_MASKS)
    if not indices and masks is None:
        return None
    if not indices:
        return LateEdits(NO_IDS, NO_IDS, NO_FLOATS, NO_FLOATS, mask_rows, bits)
    return LateEdits(
        rows=np.concatenate(indices),
        ids=np.concatenate(ids),
        factors=np.concatenate(factors).astype(np.float32, copy=False),
        addends=np.concatenate(addends).astype(np.float32, copy=False),
        mask_rows=mask_rows,
        masks=bits,
    )
