"""Mixtures of experts in NumPy, in the form of ops.py."""

from __future__ import annotations

import numpy as np
from dovetail.platform import F32


def mixture(
    x: F32,
    logits: F32,
    *,
    gate_up: F32,
    down: F32,
    k: int,
    normalised: bool,
    activation: str,
) -> F32:
    """The sum over a token's k experts of share * down(activation(gate x) * up x).

    x           [T, E]
    logits      [T, X]       of the router; the largest win, ties go to the lowest expert
    gate_up     [X * 2F, E]  of each expert the gate, then up
    down        [X * E, F]
    normalised  a token's shares sum to 1; otherwise they are those of a softmax over all experts
    returns     [T, E]

    Source: Shazeer et al. 2017, section 2.1; Jiang et al. 2024 (Mixtral), section 2.1.
    """
    from .ops import split_gated_activation

    experts = logits.shape[1]
    up = gate_up.reshape(experts, -1, x.shape[1])
    back = down.reshape(experts, x.shape[1], -1)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    chosen = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    kept = np.zeros_like(shares)
    np.put_along_axis(kept, chosen, np.take_along_axis(shares, chosen, axis=1), axis=1)
    if normalised:
        kept /= kept.sum(axis=1, keepdims=True)
    y = np.zeros_like(x)
    for expert in np.unique(chosen).tolist():
        tokens = np.flatnonzero((chosen == expert).any(axis=1))
        inner = split_gated_activation(x[tokens] @ up[expert].T, activation=activation)
        y[tokens] += kept[tokens, expert, None] * (inner @ back[expert].T)
    return y
