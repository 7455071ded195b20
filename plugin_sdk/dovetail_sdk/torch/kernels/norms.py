"""Normalisation, in f32 whatever comes in and goes out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def rms_norm(x: Tensor, *, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis: x [*, W], weight [W] -> [*, W]; f32."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def layer_norm(x: Tensor, *, weight: Tensor, bias: Tensor | None = None, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis: x [*, W] -> [*, W]; f32."""
    x = x.float()
    bias = None if bias is None else bias.float()
    return functional.layer_norm(x, x.shape[-1:], weight.float(), bias, eps)


def add_rms_norm(
    x: Tensor, residual: Tensor, *, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """rms_norm(x + residual) and the sum itself, both [*, W]; f32."""
    total = x.float() + residual
    return rms_norm(total, weight=weight, eps=eps), total
