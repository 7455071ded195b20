"""The token of a request that asks for samplers no platform has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dovetail.request import Request
from dovetail.sampler_names import TRUNCATIONS

from .chain import STEPS, Candidates, Place, temperature
from .draw import draw
from .mirostat import Mirostat


class Chooser:
    """Draws the tokens of one request from its logits, after edits and mask."""

    def __init__(self, request: Request, vocab_size: int) -> None:
        self._params = params = request.sampling
        self._seed = request.seed
        self._mirostat = Mirostat(params, vocab_size) if params.mirostat else None
        order = TRUNCATIONS if params.samplers is None else params.samplers
        self._steps = [STEPS[name] for name in order if name in STEPS]

    @staticmethod
    def needed(request: Request) -> bool:
        """Whether the request asks for any of them."""
        return request.sampling.extended

    def choose(self, logits: NDArray[np.float32], position: int) -> int | None:
        """The id [V] logits give at a position of the sequence; None if they are no finite numbers."""
        peak = logits[logits.argmax()]
        if not np.isfinite(peak):
            return None
        ids = np.flatnonzero(logits > -np.inf)
        found = Candidates(ids, logits[ids].astype(np.float64))
        place = Place(position, self._seed)
        if self._mirostat is not None:
            return self._mirostat.choose(
                temperature(found, self._params, place), position, self._seed
            )
        for step in self._steps:
            found = step(found, self._params, place)
        return int(found.ids[draw(found.ids, found.logits, position, self._seed)])
