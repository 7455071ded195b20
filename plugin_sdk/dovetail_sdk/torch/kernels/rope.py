"""Rotary positions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from dovetail_sdk.runner import NodeWeights


def pack_rope(weights: NodeWeights) -> Mapping[str, Tensor]:
    """The frequencies, on the device."""
    frequencies = np.array(weights.node.attributes["frequencies"], np.float32)
    return {"frequencies": weights.backend.upload(frequencies)}


def rope(
    x: Tensor,
    positions: Tensor,
    *,
    frequencies: Tensor,
    factor: float = 1.0,
    interleaved: bool = False,
) -> Tensor:
    """Rotate pairs of the first 2n of D by position * frequency; cos and sin are multiplied by factor.

    x            [T, H, D]
    positions    [P, T]  i32; plane 0 is read
    frequencies  [n]     f32
    interleaved  pairs are (2i, 2i + 1) instead of (i, i + n)
    returns      [T, H, D]  f32

    Source: Su et al. 2021, equation 34.
    """
    n = frequencies.numel()
    angles = positions[0].float()[:, None, None] * frequencies
    cos, sin = torch.cos(angles) * factor, torch.sin(angles) * factor
    turned, rest = x[..., : 2 * n].float(), x[..., 2 * n :].float()
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
        y = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)
    else:
        a, b = turned[..., :n], turned[..., n:]
        y = torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
    return torch.cat([y, rest], dim=-1) if rest.shape[-1] else y
