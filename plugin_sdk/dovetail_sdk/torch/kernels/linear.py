"""Matrix products: dense by the vendor's library; quantised weights are made dense on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dovetail_sdk.runner import NodeWeights

from .weights import dense, packed


def pack_linear(weights: NodeWeights) -> Mapping[str, Any]:
    """int8, fp8 and int4 stay packed on the device."""
    bias = {"bias": dense(weights, "bias")} if "bias" in weights else {}
    if weights.form("weight").kind == "dense":
        return bias | {"weight": dense(weights, "weight")}
    return bias | packed(weights, "weight")


def linear(
    x: Tensor,
    *,
    weight: Tensor,
    bias: Tensor | None = None,
    scale: Tensor | None = None,
    zero: Tensor | None = None,
) -> Tensor:
    """x @ weight.T + bias, summed in f32.

    x        [*, I]
    weight   [O, I] in x's type; i8 or e4m3fn [O, I] with scale [O]; or u8 [O, I / 2] with scale and zero [O, I / group]
    bias     [O]     or None
    returns  [*, O]
    """
    if scale is not None:
        weight = dequantised(weight, scale, zero).to(x.dtype)
    return functional.linear(x, weight, bias)


def dequantised(weight: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """[O, I] f32 of the planes of a WeightForm."""
    if zero is None:
        return weight.float() * scale[:, None]
    numbers = torch.stack([weight & 15, weight >> 4], dim=-1).reshape(*scale.shape, -1)
    return ((numbers.float() - zero.float()[..., None]) * scale[..., None]).flatten(1)
