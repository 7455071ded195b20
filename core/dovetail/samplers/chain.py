"""What each sampler leaves of the candidates for a token."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dovetail.sampling import SamplingParams

from .draw import F64, I64, uniform

_PARTS = (256, 4096)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The tokens that may still be drawn, ascending by id, all with finite logits.

    ids     [c]
    logits  [c]  f64
    """

    ids: I64
    logits: F64

    def __len__(self) -> int:
        return len(self.ids)

    def keep(self, which: np.ndarray) -> Candidates:
        """Those of a mask [c], or of ascending indices."""
        return Candidates(self.ids[which], self.logits[which])

    def probabilities(self) -> F64:
        """[c], their sum is 1."""
        weights = np.exp(self.logits - self.logits.max())
        return np.asarray(weights / weights.sum())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a token is drawn: what decisions are keyed by."""

    position: int
    seed: int


def top_n_sigma(found: Candidates, params: SamplingParams, place: Place) -> Candidates:
    """Within n standard deviations of the largest logit. Source: Tang et al. 2024, "Top-n-sigma"."""
    if params.top_n_sigma <= 0 or len(found) <= 1:
        return found
    least = found.logits.max() - params.top_n_sigma * found.logits.std()
    return found.keep(found.logits >= least)


def top_k(found: Candidates, params: SamplingParams, place: Place) -> Candidates:
    """The k likeliest."""
    return top_k_of(found, params.top_k)


def top_k_of(found: Candidates, k: int) -> Candidates:
    """The k likeliest, all for 0; of equal ones the lowest ids."""
    if not 0 < k < len(found):
        return found
    bound = np.partition(found.logits, len(found) - k)[len(found) - k]
    above = np.flatnonzero(found.logits > bound)
    ties = np.flatnonzero(found.logits == bound)[: k - len(above)]
    return found.keep(np.sort(np.concatenate([above, ties])))


def typ_p(found: Candidates, params: SamplingParams, place: Place) -> Candidates:
    """Those whose surprise is nearest to the entropy, until their probability exceeds p.

    Source: Meister et al. 2022, "Locally Typical Sampling".
    """
    if params.typical_p >= 1:
        return found
    probabilities = found.probabilities()
    surprise = -np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    entropy = float(probabilities @ surprise)
    return found.keep(
        first_until(
            np.abs(surprise - entropy),
            probabilities,
            lambda mass: np.searchsorted(mass, params.typical_p, side="right"),
        )
    )


def top_p(found: Candidates, params: SamplingParams, place: Place) -> Candidates:
    """The likeliest until their probability reaches p."""
    if params.top_p >= 1:
        return found
    return found.keep(
        first_until(
            -found.logits,
            found.probabilities(),
            lambda mass: np.searchsorted(mass, params.top_p, side="left"),
        )
    )


def min_p(found: Candidates, params: SamplingParams, place: Place) -> Candidates:
    """Those at least min_p times as likely as the likeliest."""
    if params.min_p <= 0:
        return found
    return found.keep(found.logits >= found.logits.max() + math.log(params.min_p))


def xtc(found: Candidates, params: SamplingParams, place: Place) -> Candidates:
    """With xtc_probability, without all that reach the threshold but the least likely of them.

    Source: p-e-w 2024, oobabooga/text-generation-webui pull request 6335 ("exclude top choices").
    """
    if params.xtc_probability <= 0 or params.xtc_threshold > 0.5 or len(found) < 2:
        return found
    if uniform(place.position, place.seed) > params.xtc_probability:
        return found
    reaching = np.flatnonzero(found.probabilities() >= params.xtc_threshold)
    if len(reaching) < 2:
        return found
    logits = found.logits[reaching]
    spared = reaching[np.flatnonzero(logits == logits.min())[-1]]
    kept = np.ones(len(found), np.bool_)
    kept[reaching] = False
    kept[spared] = True
    return found.keep(kept)


def temperature(found: Candidates, params: SamplingParams, place: Place) -> Candidates:
    """Logits over the temperature, which follows their entropy if dynatemp_range is set."""
    value = dynamic_temperature(found, params)
    if value <= 0:
        return found.keep(np.array([found.logits.argmax()]))
    return Candidates(found.ids, found.logits / value)


def dynamic_temperature(found: Candidates, params: SamplingParams) -> float:
    """Between temperature - range and temperature + range, by the entropy's share of the largest there can be.

    Source: kalomaze 2023, ggml-org/llama.cpp pull request 4972.
    """
    spread = params.dynatemp_range
    if spread <= 0 or len(found) <= 1:
        return params.temperature
    low, high = max(0.0, params.temperature - spread), params.temperature + spread
    probabilities = found.probabilities()
    some = probabilities[probabilities > 0]
    share = min(1.0, max(0.0, float(-(some @ np.log(some))) / math.log(len(found))))
    return float(low + (high - low) * share**params.dynatemp_exponent)


STEPS: dict[str, Callable[[Candidates, SamplingParams, Place], Candidates]] = {
    "top_n_sigma": top_n_sigma,
    "top_k": top_k,
    "typ_p": typ_p,
    "top_p": top_p,
    "min_p": min_p,
    "xtc": xtc,
    "temperature": temperature,
}


def first_until(keys: F64, probabilities: F64, count: Callable[[F64], np.intp]) -> I64:
    """Ascending indices of the smallest keys (of equal ones the lowest), up to the one at which enough mass is there.

    count  of running sums of probability, the index of that one; the length of the sums if there is not enough
    """
    for part in (*_PARTS, len(keys)):
        if part < len(keys):
            bound = np.partition(keys, part)[part]
            some = np.flatnonzero(keys <= bound)
        else:
            some = np.arange(len(keys))
        ordered = some[np.argsort(keys[some])]
        reached = int(count(np.cumsum(probabilities[ordered])))
        if reached < len(ordered) or part >= len(keys):
            break
    last = keys[ordered[min(reached, len(ordered) - 1)]]
    below = np.flatnonzero(keys < last)
    ties = np.flatnonzero(keys == last)[: reached + 1 - len(below)]
    return np.sort(np.concatenate([below, ties]))
