"""Rotary positions. mx.fast.rope counts positions up from an offset; here every token has its own."""

from __future__ import annotations

from collections.abc import Mapping

import mlx.core as mx
from dovetail_sdk.runner import NodeWeights


def pack_rope(weights: NodeWeights) -> Mapping[str, mx.array]:
    """The frequencies, on the device."""
    frequencies = weights.node.attributes["frequencies"]
    assert isinstance(frequencies, tuple)
    return {"frequencies": mx.array(frequencies, mx.float32)}


def rope(
    x: mx.array,
    positions: mx.array,
    *,
    frequencies: mx.array,
    factor: float = 1.0,
    interleaved: bool = False,
) -> mx.array:
    """Rotate pairs of the first 2n of D by position * frequency; cos and sin are multiplied by factor.

    x            [T, H, D]
    positions    [P, T]  i32; plane 0 is read
    frequencies  [n]     f32
    interleaved  pairs are (2i, 2i + 1) instead of (i, i + n)
    returns      [T, H, D]  f32

    Source: Su et al. 2021, equation 34.
    """
    n = frequencies.size
    angles = positions[0].astype(mx.float32)[:, None, None] * frequencies
    cos, sin = mx.cos(angles) * factor, mx.sin(angles) * factor
    turned, rest = x[..., : 2 * n].astype(mx.float32), x[..., 2 * n :].astype(mx.float32)
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
        y = mx.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(turned.shape)
    else:
        a, b = turned[..., :n], turned[..., n:]
        y = mx.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
    return mx.concatenate([y, rest], axis=-1) if rest.shape[-1] else y
