"""Mixtures of experts in plain torch: every expert on every token, so that nothing has to be read to know who goes where."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .pointwise import split_gated_activation


def mixture(
    x: Tensor,
    logits: Tensor,
    *,
    gate_up: Tensor,
    down: Tensor,
    k: int,
    normalised: bool,
    activation: str,
) -> Tensor:
    """The sum over a token's k experts of share * down(activation(gate x) * up x).

    x           [T, E]
    logits      [T, X]       of the router; the largest win, ties go to the lowest expert
    gate_up     [X * 2F, E]  of each expert the gate, then up
    down        [X * E, F]
    normalised  a token's shares sum to 1; otherwise they are those of a softmax over all experts
    returns     [T, E]  f32

    Source: Shazeer et al. 2017, section 2.1; Jiang et al. 2024 (Mixtral), section 2.1.
    """
    experts = logits.shape[1]
    shares = functional.softmax(logits.float(), dim=1)
    order = logits.float().argsort(dim=1, descending=True, stable=True)
    chosen = torch.zeros_like(shares).scatter_(1, order[:, :k], 1.0)
    kept = shares * chosen
    if normalised:
        kept = kept / kept.sum(1, keepdim=True)
    y = x.new_zeros(x.shape, dtype=torch.float32)
    ups, downs = gate_up.view(experts, -1, x.shape[1]), down.view(experts, x.shape[1], -1)
    for expert in range(experts):
        inner = split_gated_activation(functional.linear(x, ups[expert]), activation=activation)
        made = functional.linear(inner.to(x.dtype), downs[expert]).float()
        # a product of 0 and what an expert that was not asked makes of large numbers is not 0
        y += torch.where(chosen[:, expert, None] > 0, kept[:, expert, None] * made, 0.0)
    return y
