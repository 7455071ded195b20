"""Slot registers: the token each slot sampled last, kept where the next step is packed."""

from __future__ import annotations

import numpy as np
from dovetail.platform import I32


class Registers:
    """Grows with the highest slot written."""

    def __init__(self) -> None:
        self._tokens = np.zeros(64, np.int32)

    def write(self, slots: I32, tokens: I32) -> None:
        """Keep tokens [n] in slots [n]; -1 keeps none."""
        wanted = slots >= 0
        if not wanted.any():
            return
        slots = slots[wanted]
        if (top := int(slots.max())) >= len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.zeros(top + 1, np.int32)])
        self._tokens[slots] = tokens[wanted]

    def resolve(self, tokens: I32) -> I32:
        """Replace every ~v by what slot v holds. Raises ValueError for a slot that nothing was kept in."""
        if int(tokens.min(initial=0)) >= 0:
            return tokens
        slots = np.where(tokens < 0, ~tokens, 0)
        if (top := int(slots.max())) >= len(self._tokens):
            raise ValueError(f"a token refers to slot {top}, which has never sampled")
        return np.where(tokens < 0, self._tokens[slots], tokens)
