"""Quantised weights as the kernels read them, made once at load from the planes of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from dovetail.graph import Graph, Node, Weight
from torch import Tensor

from dovetail_sdk.runner import NodeWeights
from dovetail_sdk.torch.fp8 import own

from .linear import BLOCK, linear_eight_bits, linear_four_bits


@dataclass(frozen=True, slots=True)
class EightBits:
    """data [O, I] int8, fp8 or u8 that holds the bits of e4m3fn, scale [O] f32."""

    data: Tensor
    scale: Tensor

    def product(self, x: Tensor, bias: Tensor | None, architecture: str) -> Tensor:
        """x [T, I] times the weight, plus bias [O]: [T, O]."""
        return linear_eight_bits(x, self.data, self.scale, bias, architecture=architecture)


@dataclass(frozen=True, slots=True)
class FourBits:
    """data [O, I / 2] u8 in blocks, scale [I / group, O] f32 or f16, zero [I / group, O] u8."""

    data: Tensor
    scale: Tensor
    zero: Tensor
    group: int

    def product(self, x: Tensor, bias: Tensor | None, architecture: str) -> Tensor:
        """x [T, I] times the weight, plus bias [O]: [T, O]."""
        return linear_four_bits(
            x, self.data, self.scale, self.zero, bias, group=self.group, architecture=architecture
        )


def pack(weights: NodeWeights, fp8: str | None) -> dict[str, Any]:
    """The `pack` of linear for quantised forms; `fp8` is the kind that the device converts itself."""
    bias = {"bias": weights.array("bias")} if "bias" in weights else {}
    return {"weight": packed(weights, "weight", fp8), **bias}


def packed(weights: NodeWeights, role: str, fp8: str | None) -> EightBits | FourBits:
    """A quantised weight [O, I] on the device."""
    form, upload = weights.form(role), weights.backend.upload
    data = upload(weights.read(role))
    scale = weights.read(role, "scale").astype(np.float32, copy=False)
    if form.kind != "int4_group":
        planes = data, upload(scale)
        return EightBits(*(own(*planes, fp8) if form.kind == "fp8_channel" else planes))
    zero = weights.read(role, "zero").astype(np.uint8, copy=False)
    return FourBits(
        in_blocks(data.view(torch.uint8)),
        upload(np.ascontiguousarray(_short(scale).T)),
        upload(np.ascontiguousarray(zero.T)),
        form.group,
    )


def in_blocks(data: Tensor) -> Tensor:
    """Bytes [O, I / 2] of neighbours (inputs 2j and 2j + 1) as bytes of blocks (j and j + BLOCK / 2 of each BLOCK)."""
    rows, half = data.shape
    pairs = torch.stack([data & 15, data >> 4], -1).view(rows, 2 * half // BLOCK, 2, BLOCK // 2)
    return (pairs[:, :, 0] | (pairs[:, :, 1] << 4)).view(rows, half)


def _short(scale: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, Any]:
    """In f16 where that loses nothing, as with most checkpoints: half the bytes of every group."""
    with np.errstate(over="ignore"):
        short = scale.astype(np.float16)
    return short if np.array_equal(short.astype(np.float32), scale) else scale


def supports(node: Node, graph: Graph) -> str | None:
    """Why a linear cannot run on the quantised kernels."""
    weight = graph.weights[node.weights["weight"]]
    if weight.form.kind == "dense":
        return "a dense weight is the vendor library's"
    return four_bits_fit(weight)


def four_bits_fit(weight: Weight) -> str | None:
    """Why a weight's groups cannot be read by the kernels; None for other forms."""
    if weight.form.kind != "int4_group":
        return None
    group, inputs = weight.form.group, weight.shape[1]
    if inputs % BLOCK:
        return f"{inputs} inputs are no multiple of {BLOCK}"
    if group % BLOCK and group not in (16, 32, 64):
        return f"groups of {group}; 16, 32, 64 and multiples of {BLOCK} are known"
    return None


class Linear:
    """The `call` of linear for packed weights."""

    def __init__(self, architecture: str) -> None:
        self._architecture = architecture

    def __call__(
        self, x: Tensor, *, weight: EightBits | FourBits, bias: Tensor | None = None
    ) -> Tensor:
        """x [*, I] -> [*, O]."""
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        y = weight.product(rows, bias, self._architecture)
        return y.view(*x.shape[:-1], y.shape[1])
