"""How many prompt tokens a step may take while others wait for their next token."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .cost import UNITS, CostModel, Work
from .plan import Plan
from .slots import I32

LEAST_PROMPT = 16
"""Prompt tokens that a step takes at least, however slow it is."""
LEAST_SHARE = 0.5
"""And at least as many as make it longer by this share of what decoding alone would take."""
TILES = (128, 64)
"""Matrix kernels take tokens in tiles of these sizes, and pay for the last one whole."""


@dataclass(slots=True)
class Pace:
    """A budget for each step, so that running streams get a token about every target_s while prompts enter.

    Where decoding alone takes most of the target, prompts still get their share: LEAST_SHARE of it on top. Where nobody
    decodes, there is no one to be slowed down, and Pace is not asked.
    """

    target_s: float
    cost: CostModel = field(default_factory=CostModel)

    def observe(self, plan: Plan, seconds: float) -> None:
        """A step ran, and so much time passed between its tokens and those of the step before."""
        self.cost.observe(work_of(plan.starts, plan.counts), seconds)

    def budget(self, starts: I32, past: int, most: int) -> int:
        """Tokens of a step.

        starts  [D] i32  positions in the cache of the sequences that decode
        past    the same of the prompt that goes first
        most    what a step can take at all
        """
        decoding = len(starts)
        if self.cost.empty or decoding >= most:
            return most
        prompt = self._prompt_tokens(work_of(starts, np.ones(decoding, np.int32)), past, most)
        return min(most, decoding + max(LEAST_PROMPT, aligned(decoding, prompt)))

    def _prompt_tokens(self, decode: Work, past: int, most: int) -> int:
        step, token, row, pair = (self.cost.weights() / UNITS).tolist()
        alone = step + token * decode.tokens + row * (decode.rows + 1) + pair * decode.pairs
        room = max(self.target_s - alone, LEAST_SHARE * alone)
        linear = token + pair * past
        if linear * most + pair * most * most / 2 <= room:
            return most
        # pair / 2 * n**2 + linear * n = room, in the form that does not cancel
        return int(2 * room / (linear + math.sqrt(linear * linear + 2 * pair * room)))


def work_of(starts: I32, counts: I32) -> Work:
    """Rows of so many new positions after so many in the cache, both [R] i32."""
    new = counts.astype(np.float64)
    pairs = float(new @ (starts + (new + 1) / 2))
    return Work(int(counts.sum()), len(counts), pairs)


def aligned(decoding: int, prompt: int) -> int:
    """Prompt tokens cut so that all tokens of the step fill whole tiles, where that costs at most half of them."""
    for tile in TILES:
        rest = (decoding + prompt) % tile
        if prompt >= 2 * rest:
            return prompt - rest
    return prompt
