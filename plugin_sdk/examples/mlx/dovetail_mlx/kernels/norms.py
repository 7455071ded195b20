"""Normalisation, by MLX's own kernels; statistics are in f32."""

from __future__ import annotations

import mlx.core as mx


def rms_norm(x: mx.array, *, weight: mx.array, eps: float) -> mx.array:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis: x [*, W], weight [W] -> [*, W]."""
    return mx.fast.rms_norm(x, weight, eps)


def layer_norm(
    x: mx.array, *, weight: mx.array, bias: mx.array | None = None, eps: float
) -> mx.array:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis: x [*, W] -> [*, W]."""
    return mx.fast.layer_norm(x, weight, bias, eps)


def add_rms_norm(
    x: mx.array, residual: mx.array, *, weight: mx.array, eps: float
) -> tuple[mx.array, mx.array]:
    """rms_norm(x + residual) and the sum itself, both [*, W]."""
    total = x + residual
    return mx.fast.rms_norm(total, weight, eps), total
