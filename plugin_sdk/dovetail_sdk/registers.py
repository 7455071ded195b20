"""The token that each slot sampled last, and what was called so far: state that every host platform keeps."""

from __future__ import annotations

import numpy as np
from dovetail.platform import I32


class Registers:
    """The token that each slot sampled last, 0 before it sampled; slot 0 is scrap."""

    def __init__(self) -> None:
        self._tokens: I32 = np.zeros(1, np.int32)

    def resolve(self, tokens: I32) -> I32:
        """A copy of tokens [T] with every ~v replaced by what slot v sampled last."""
        late = tokens < 0
        if not late.any():
            return tokens.copy()
        slots = np.where(late, ~tokens, 0)
        self._grow(int(slots.max()))
        return np.where(late, self._tokens[slots], tokens)

    def write(self, slots: I32, ids: I32) -> None:
        """Keep ids [n] in slots [n], except where the slot is -1."""
        self._grow(int(slots.max(initial=0)))
        self._tokens[np.maximum(slots, 0)] = ids

    def _grow(self, slot: int) -> None:
        if slot >= self._tokens.size:
            more = 2 * slot + 2 - self._tokens.size
            self._tokens = np.concatenate([self._tokens, np.zeros(more, np.int32)])


class Calls:
    """What was called on a model so far. Its checks raise ValueError for a call out of order.

    runs  steps issued; a step's own number is this right after its `run`
    """

    def __init__(self, vocab_size: int) -> None:
        self.runs = 0
        self._vocab_size = vocab_size
        self._sampled: set[int] = set()

    def check_tokens(self, tokens: I32) -> None:
        """Tokens [T] are in the vocabulary, and slots that are read have sampled."""
        slots = {int(~token) for token in tokens[tokens < 0]}
        if unknown := slots - self._sampled:
            raise ValueError(f"slots {sorted(unknown)} are read and have sampled nothing")
        largest = int(tokens.max(initial=0))
        if self._vocab_size and largest >= self._vocab_size:
            raise ValueError(f"token {largest} is outside the vocabulary of {self._vocab_size}")

    def check_sample(self, run: int) -> None:
        """Step `run` may still be sampled."""
        if self.runs > run + 1:
            raise ValueError("a step was sampled after the next but one had been run")

    def check_fetch(self, run: int) -> None:
        """Step `run` may still be fetched."""
        if self.runs > run:
            raise ValueError("a step was fetched after the next had been run")

    def sampled(self, slots: I32) -> None:
        """These slots [n] have a token from now on; -1 is none."""
        self._sampled.update(slots[slots >= 0].tolist())
