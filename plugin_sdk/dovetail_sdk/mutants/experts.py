"""Wrong mixtures of experts, wrong sinks."""

from __future__ import annotations

from typing import Any

import numpy as np
from dovetail.platform import F32

from dovetail_sdk.reference import ops

from .attention import with_changed
from .plant import mutant

mixture = ops.OPS["mixture"]


def halves_swapped(x: F32, logits: F32, *, gate_up: F32, **rest: Any) -> Any:
    """Of each expert, up above gate."""
    halves = gate_up.reshape(logits.shape[1], 2, -1, x.shape[1])
    return mixture(x, logits, gate_up=halves[:, ::-1].reshape(gate_up.shape), **rest)


def next_expert(x: F32, logits: F32, *, down: F32, **rest: Any) -> Any:
    """What one expert makes goes back through another's matrix."""
    return mixture(x, logits, down=np.roll(down, x.shape[1], axis=0), **rest)


def sinks_ignored(q: F32, written: F32, *, sinks: F32, **rest: Any) -> Any:
    return ops.attention(q, written, **rest)


MUTANTS = (
    mutant(
        "experts-one-less",
        "a token asks one expert too few",
        "ops",
        ops="^mixture$",
        kernels={"mixture": with_changed("mixture", k=lambda k: max(1, k - 1))},
    ),
    mutant(
        "experts-shares-of-all",
        "shares are those of all experts where they should be those of the chosen ones",
        "ops",
        ops="^mixture$",
        kernels={"mixture": with_changed("mixture", normalised=lambda _: False)},
    ),
    mutant(
        "experts-halves-swapped",
        "gate and up of an expert are taken for each other",
        "ops",
        ops="^mixture$",
        kernels={"mixture": halves_swapped},
    ),
    mutant(
        "experts-next",
        "the second product is another expert's",
        "ops",
        ops="^mixture$",
        kernels={"mixture": next_expert},
    ),
    mutant(
        "sinks-ignored",
        "sinks take no weight",
        "ops",
        ops="^sink_attention$",
        kernels={"sink_attention": sinks_ignored},
    ),
    mutant(
        "sinks-backwards",
        "heads have each other's sinks",
        "ops",
        ops="^sink_attention$",
        kernels={"sink_attention": with_changed("sink_attention", sinks=lambda s: s[::-1])},
    ),
)
