"""Weights of every form, unpacked on the host: what a kernel's `pack` begins with."""

from __future__ import annotations

import numpy as np
from dovetail.platform import F32, WeightSource
from numpy.typing import NDArray


def unpack_int4(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes [O, I / 2] as numbers 0 to 15 [O, I]: the low four bits of a byte come first."""
    return np.stack([data & 15, data >> 4], axis=-1).reshape(data.shape[0], -1)


def read_f32(source: WeightSource, name: str) -> F32:
    """A weight [O, I] or [n], dequantised; a view of the source where it is f32 already.

    Raises ValueError for a form that is not known here.
    """
    form = source.spec(name).form
    data = source.read(name)
    if form.kind == "dense":
        return np.ascontiguousarray(data, np.float32)
    scale = source.read(name, "scale").astype(np.float32)
    if form.kind in ("int8_channel", "fp8_channel"):
        return np.asarray(data.astype(np.float32) * scale[:, None])
    if form.kind == "int4_group":
        outputs = data.shape[0]
        numbers = unpack_int4(data.astype(np.uint8, copy=False))
        grouped = numbers.reshape(outputs, -1, form.group).astype(np.float32)
        zero = source.read(name, "zero").astype(np.float32)
        weight: F32 = (grouped - zero[..., None]) * scale[..., None]
        return weight.reshape(outputs, -1)
    raise ValueError(
        f"weight {name} has form {form}; dense, int8_channel, fp8_channel and int4_group are known"
    )
