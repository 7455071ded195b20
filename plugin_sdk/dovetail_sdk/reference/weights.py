"""Weights of every form as f32 arrays."""

from __future__ import annotations

import numpy as np
from dovetail.platform import F32, WeightSource


def read_f32(source: WeightSource, name: str) -> F32:
    """A weight [O, I] or [n], dequantised; a view of the source where it is f32 already.

    Raises ValueError for a form that is not known here.
    """
    form = source.spec(name).form
    data = source.read(name)
    if form.kind == "dense":
        return np.ascontiguousarray(data, np.float32)
    scale = source.read(name, "scale").astype(np.float32)
    if form.kind == "int8_channel":
        return np.asarray(data.astype(np.float32) * scale[:, None])
    if form.kind == "int4_group":
        outputs = data.shape[0]
        nibbles = np.stack([data & 15, data >> 4], axis=-1)  # type: ignore[operator]  # u8
        grouped = nibbles.reshape(outputs, -1, form.group).astype(np.float32)
        zero = source.read(name, "zero").astype(np.float32)
        weight: F32 = (grouped - zero[..., None]) * scale[..., None]
        return weight.reshape(outputs, -1)
    raise ValueError(f"weight {name} has form {form}; dense, int8_channel and int4_group are known")
