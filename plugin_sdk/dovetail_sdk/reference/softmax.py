"""Scores, softmax and weighted sum: what attention over cached and over whole sequences shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from dovetail.platform import F32


def attend(
    q: F32,
    keys: F32,
    values: F32,
    hidden: np.ndarray[Any, np.dtype[np.bool_]],
    scale: float,
    soft_cap: float | None,
    sinks: F32 | None = None,
) -> F32:
    """One row: q [n, H, D], keys [c, K, D], values [c, K, Dv], hidden [n, c], sinks [H] or None -> [n, H, Dv]."""
    n, heads, width = q.shape
    kv_heads = keys.shape[1]
    grouped = q.reshape(n, kv_heads, -1, width).transpose(1, 2, 0, 3)  # [K, H / K, n, D]
    scores = grouped.reshape(kv_heads, -1, width) @ keys.transpose(1, 2, 0)
    scores = scores.reshape(kv_heads, -1, n, len(keys)) * np.float32(scale)
    if soft_cap is not None:
        scores = np.tanh(scores / np.float32(soft_cap)) * np.float32(soft_cap)
    scores = np.where(hidden, np.float32(-np.inf), scores)
    peak = scores.max(axis=-1, keepdims=True)
    own = None if sinks is None else sinks.reshape(kv_heads, -1, 1, 1)
    peak = peak if own is None else np.maximum(peak, own)
    weights = np.exp(scores - peak)
    total = weights.sum(axis=-1, keepdims=True)
    weights /= total if own is None else total + np.exp(own - peak)
    mixed = weights.reshape(kv_heads, -1, len(keys)) @ values.transpose(1, 0, 2)
    mixed = mixed.reshape(kv_heads, -1, n, values.shape[2]).transpose(2, 0, 1, 3)
    return np.asarray(mixed.reshape(n, heads, -1))
