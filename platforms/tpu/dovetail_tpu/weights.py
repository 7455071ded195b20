"""Weights on their way to the device: read, put into the form that is multiplied, those of like layers stacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from dovetail.graph import Weight
from dovetail.platform import WeightSource
from dovetail_sdk.packing import unpack_int4
from numpy.typing import NDArray

from .lower import Lowered
from .trace import Array

Numbers = NDArray[Any]
Put = Callable[[str, str, Numbers], Array]
"""Name in the params, plane, numbers -> the array on the device or over the mesh."""

NARROW = {"bf16": ml_dtypes.bfloat16, "f16": np.float16}


def read_params(lowered: Lowered, source: WeightSource, put: Put) -> dict[str, dict[str, Array]]:
    """Every weight of the graph on the device, by its name in the params."""
    stacks = lowered.stacks()
    inside = {name for names in stacks.values() for name in names}
    params = {}
    for name, names in stacks.items():
        params[name] = _placed(lowered, source, put, name, names, stacked=True)
    for name in lowered.graph.weights:
        if name not in inside:
            params[name] = _placed(lowered, source, put, name, (name,), stacked=False)
    return params


def _placed(
    lowered: Lowered,
    source: WeightSource,
    put: Put,
    name: str,
    names: Sequence[str],
    *,
    stacked: bool,
) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for plane in source.planes(name):
        parts = [
            converted(
                lowered.graph.weights[one], lowered.graph.dtype, plane, source.read(one, plane)
            )
            for one in names
        ]
        found[plane] = put(name, plane, np.stack(parts) if stacked else parts[0])
    return found


def converted(weight: Weight, dtype: str, plane: str, numbers: Numbers) -> Numbers:
    """A plane as the device keeps it: matrices no wider than the graph computes, int4 in halves."""
    kind = weight.form.kind
    if kind == "int4_group":
        return pack_int4(numbers) if plane == "data" else numbers
    wider = kind == "dense" and weight.form.dtype == "f32" and dtype in NARROW
    if wider and len(weight.shape) > 1:
        return numbers.astype(NARROW[dtype])
    return numbers


def pack_int4(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes [O, I / 2] with neighbours in a byte, repacked: input j in the low four bits of byte j, input I / 2 + j in
    the high ones. So both halves are contiguous once they are taken apart, and no lane moves."""
    numbers = unpack_int4(data)
    half = numbers.shape[1] // 2
    return np.bitwise_or(numbers[:, :half], numbers[:, half:] << np.uint8(4))


def param_bytes(params: Mapping[str, Mapping[str, Array]]) -> int:
    """Bytes of all planes."""
    return sum(array.nbytes for planes in params.values() for array in planes.values())
