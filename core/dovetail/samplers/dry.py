"""DRY: tokens that would continue a repetition lose, the more the longer it is.

Source: p-e-w 2024, oobabooga/text-generation-webui pull request 5677; breakers and limits as in llama.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dovetail.sampling import SamplingParams

I32 = NDArray[np.int32]
_LARGEST_LOG = 88.7228391
"""Of an f32: penalties do not grow beyond it."""


class Dry:
    """The penalties of one sequence, kept up to date as it grows.

    breakers  token ids, each a whole breaker or the beginning of one that later tokens complete: repetitions do not
              reach over one that is there, and a breaker of one token is never penalised
    """

    def __init__(self, params: SamplingParams, breakers: Sequence[Sequence[int]]) -> None:
        self._params = params
        self._single = frozenset(ids[0] for ids in breakers if len(ids) == 1)
        self._longer: dict[int, list[list[int]]] = {}
        for ids in breakers:
            if len(ids) > 1:
                self._longer.setdefault(ids[0], []).append(list(ids))
        self._tokens: I32 = np.zeros(0, np.int32)
        self._matches: I32 = np.zeros(
            0, np.int32
        )  # by position, the longest end of all tokens that also ends there
        self._known = 0
        self._start = 0  # after the last breaker: no repetition begins before it
        self._greatest = int(_LARGEST_LOG / math.log(params.dry_base)) if params.dry_base > 1 else 0

    def penalties(self, tokens: list[int]) -> dict[int, float]:
        """What is taken off the logits of which ids, after these tokens."""
        self._learn(tokens)
        params, n = self._params, self._known
        allowed = params.dry_allowed_length
        window = n if params.dry_penalty_last_n < 0 else min(n, params.dry_penalty_last_n)
        longest = min(n - self._start, window)
        if window <= allowed or longest < allowed:
            return {}
        first = n - window
        lengths = np.minimum(self._matches[first : n - 1], longest)
        lengths = np.minimum(lengths, np.arange(1, window))  # within the window
        found: dict[int, float] = {}
        for at in np.flatnonzero((lengths >= allowed) & (lengths > 0)).tolist():
            token, length = int(self._tokens[first + at + 1]), int(lengths[at])
            if token not in self._single:
                found[token] = max(found.get(token, 0.0), self._penalty(length - allowed))
        return found

    def _penalty(self, exponent: int) -> float:
        if self._greatest:
            exponent = min(exponent, self._greatest)
        return float(min(self._params.dry_multiplier * self._params.dry_base**exponent, 3e38))

    def _learn(self, tokens: list[int]) -> None:
        """Take in the tokens that are new."""
        if self._known == 0 and len(tokens) > 1:
            self._grow(len(tokens))
            self._tokens[: len(tokens)] = tokens
            self._matches[: len(tokens)] = ends_of(tokens)
            for self._known in range(1, len(tokens) + 1):
                self._break()
            return
        for token in tokens[self._known :]:
            self._append(token)

    def _append(self, token: int) -> None:
        n = self._known
        self._grow(n + 1)
        before = self._matches[: n - 1].copy() if n else self._matches[:0]
        self._tokens[n] = token
        same = self._tokens[:n] == token
        self._matches[:n] = same
        self._matches[1:n] += np.where(same[1:], before, 0)
        self._known = n + 1
        self._break()

    def _break(self) -> None:
        """Move the start if a breaker ends with the last token."""
        n = self._known
        if int(self._tokens[n - 1]) in self._single:
            self._start = n
        for longer in self._longer.values():
            for ids in longer:
                if n >= len(ids) and self._tokens[n - len(ids) : n].tolist() == ids:
                    self._start = n

    def _grow(self, length: int) -> None:
        if length > len(self._tokens):
            more = np.zeros(max(64, length), np.int32)
            self._tokens = np.concatenate([self._tokens, more])
            self._matches = np.concatenate([self._matches, more])


def ends_of(tokens: Sequence[int]) -> I32:
    """[n] by position j, how many tokens before and at j equal the last ones of all; the last entry means nothing.

    The Z-function of the reversed tokens, in linear time (Gusfield 1997, section 1.4).
    """
    text, n = tokens[::-1], len(tokens)
    z = [0] * n
    left = right = 0
    for i in range(1, n):
        length = min(right - i, z[i - left]) if i < right else 0
        while i + length < n and text[length] == text[i + length]:
            length += 1
        z[i] = length
        if i + length > right:
            left, right = i, i + length
    return np.array(z[::-1], np.int32)
