"""Mirostat: keeps the surprise of tokens near a target.

Source: Basu et al. 2021, "Mirostat: a neural text decoding algorithm that directly controls perplexity", algorithm 1;
version 2 as its authors published it later (github.com/basusourya/mirostat).
"""

from __future__ import annotations

import math

import numpy as np

from dovetail.sampling import SamplingParams

from .chain import Candidates, top_k_of
from .draw import draw

ESTIMATED_FROM = 100
"""Tokens that the exponent of the distribution is estimated from."""
REMEMBERED = 8
_MOST_POWER = 700.0


class Mirostat:
    """The state of one sequence: the largest surprise allowed, mu, before each of its last positions.

    By position, because a token that was drawn and never committed (a cache was lost) is drawn again.
    """

    def __init__(self, params: SamplingParams, vocab_size: int) -> None:
        self._params = params
        self._vocab_size = vocab_size
        self._mu: dict[int, float] = {}

    def choose(self, found: Candidates, position: int, seed: int) -> int:
        """The id drawn at a position."""
        params = self._params
        mu = self._mu[position] = self._mu_at(position)
        cut = self._first(found, mu) if params.mirostat == 1 else _second(found, mu)
        index = draw(cut.ids, cut.logits, position, seed)
        surprise = -math.log2(max(float(cut.probabilities()[index]), np.finfo(np.float64).tiny))
        self._mu[position + 1] = mu - params.mirostat_eta * (surprise - params.mirostat_tau)
        if len(self._mu) > REMEMBERED:
            del self._mu[min(self._mu)]
        return int(cut.ids[index])

    def _mu_at(self, position: int) -> float:
        """As of the last draw before; tokens that a grammar forced in between were no surprise of the model's."""
        earlier = [at for at in self._mu if at <= position]
        return self._mu[max(earlier)] if earlier else 2 * self._params.mirostat_tau

    def _first(self, found: Candidates, mu: float) -> Candidates:
        """The k likeliest, k from mu and the exponent s of the Zipf distribution that fits the likeliest."""
        likeliest = top_k_of(found, ESTIMATED_FROM)
        gaps = -np.diff(np.sort(likeliest.logits)[::-1])
        ranks = np.arange(1, len(gaps) + 1)
        steps = np.log((ranks + 1) / ranks)
        if len(gaps) == 0:
            return found
        s = float(steps @ gaps / (steps @ steps))
        return top_k_of(found, _most(s, mu, self._vocab_size))


def _most(s: float, mu: float, vocab_size: int) -> int:
    """k = (e 2**mu / (1 - N**-e)) ** (1 / s) with e = s - 1, at least 1 and at most N; in logarithms."""
    if s <= 0:
        return vocab_size  # a flat head: k grows without bound as s goes to 0
    e, n = s - 1, math.log(vocab_size)
    # e / (1 - N**-e) is positive on both sides of e = 0, where it is 1 / ln N
    ratio = 1 / n if abs(e * n) < 1e-9 else e / -math.expm1(min(-e * n, _MOST_POWER))
    power = (math.log(ratio) + mu * math.log(2)) / s
    return max(1, min(vocab_size, int(math.exp(min(power, _MOST_POWER)))))


def _second(found: Candidates, mu: float) -> Candidates:
    """Those whose surprise is at most mu, and at least the likeliest."""
    probabilities = found.probabilities()
    kept = np.flatnonzero(probabilities >= 2.0 ** -min(mu, 1000.0))
    return found.keep(kept) if len(kept) else top_k_of(found, 1)
