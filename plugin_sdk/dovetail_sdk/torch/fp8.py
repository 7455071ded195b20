"""The two 8-bit floats of GPUs: e4m3fn (NVIDIA, newer AMD) and e4m3fnuz (gfx942), which has half its numbers and one zero."""

from __future__ import annotations

import torch
from torch import Tensor

KINDS: dict[str, torch.dtype] = {"e4m3fn": torch.float8_e4m3fn, "e4m3fnuz": torch.float8_e4m3fnuz}
"""Torch's type of a kind."""


def rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """In another type; what is beyond the range of an 8-bit float, which has no infinity, becomes its largest number."""
    if dtype not in KINDS.values():
        return x.to(dtype)
    largest = torch.finfo(dtype).max
    return x.float().clamp(-largest, largest).to(dtype)


def scaled(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x [*, W] over scales [*] f32 that bring the largest of each row to an 8-bit float's largest, and the scales."""
    largest = x.float().abs().amax(-1)
    scale = torch.where(largest > 0, largest / torch.finfo(dtype).max, 1.0)
    return x.float() / scale[..., None], scale


def movable(array: Tensor) -> Tensor:
    """The same memory in a type that torch can index: bytes in the place of 8-bit floats."""
    return array.view(torch.uint8) if array.dtype in KINDS.values() else array


def own(data: Tensor, scale: Tensor, kind: str | None) -> tuple[Tensor, Tensor]:
    """A weight in e4m3fn as the device's own kind, the same numbers: data and scale.

    data   [*] e4m3fn, finite      scale  f32
    kind   of KINDS; None leaves the bits as u8

    The bits of an e4m3fn mean half as much in e4m3fnuz, where those of -0 are not a number.
    """
    if kind == "e4m3fn":
        return data, scale
    bits = data.view(torch.uint8)
    if kind is None:
        return bits, scale
    return bits.masked_fill(bits == 0x80, 0).view(KINDS[kind]), 2 * scale
