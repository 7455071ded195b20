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
Put = Callable[[Sequence[Numbers]], Array]
"""Each member's numbers -> the array on the device or over the mesh."""

NARROW = {"bf16": ml_dtypes.bfloat16, "f16": np.float16}
STORED = {**NARROW, "f32": np.float32}


def read_params(
    lowered: Lowered, sources: Sequence[WeightSource], put: Put
) -> dict[str, dict[str, Array]]:
    """Every weight of the graph on the devices, by its name in the params.

    sources  of each member's view of the graph; one that a member has not (a bias that is added once) is zeros there
    """
    stacks = lowered.stacks()
    inside = {name for names in stacks.values() for name in names}
    alone = {name: (name,) for name in lowered.graph.weights if name not in inside}
    params: dict[str, dict[str, Array]] = {}
    for name, names in {**stacks, **alone}.items():
        params[name] = {}
        for plane in sources[0].planes(names[0]):
            parts = []
            for source in sources:
                found = [_read(lowered, source, one, plane) for one in names]
                parts.append(np.stack(found) if name in stacks else found[0])
            params[name][plane] = put(parts)
    return params


def _read(lowered: Lowered, source: WeightSource, name: str, plane: str) -> Numbers:
    weight = lowered.graph.weights[name]
    try:
        source.spec(name)
    except KeyError:
        return np.zeros(weight.shape, STORED[weight.form.dtype])
    return converted(weight, lowered.graph.dtype, plane, source.read(name, plane))


def param_shapes(lowered: Lowered) -> dict[str, dict[str, tuple[tuple[int, ...], Any]]]:
    """Shape and type of every array that read_params makes on a member, without reading anything."""
    stacks, found = lowered.stacks(), {}
    inside = {name for names in stacks.values() for name in names}
    for name, weight in lowered.graph.weights.items():
        if name in stacks or name not in inside:
            lead = (len(stacks[name]),) if name in stacks else ()
            planes = _planes(weight, lowered.graph.dtype)
            found[name] = {
                plane: ((*lead, *shape), dtype) for plane, (shape, dtype) in planes.items()
            }
    return found


def _planes(weight: Weight, dtype: str) -> dict[str, tuple[tuple[int, ...], Any]]:
    """As converted makes them."""
    form, shape = weight.form, weight.shape
    if form.kind == "dense":
        narrow = form.dtype == "f32" and dtype in NARROW and len(shape) > 1
        return {"data": (shape, STORED[dtype if narrow else form.dtype])}
    if form.kind == "int8_channel":
        return {"data": (shape, np.int8), "scale": (shape[:1], np.float32)}
    groups = (shape[0], shape[1] // form.group)
    halves = (shape[0], shape[1] // 2)
    return {"data": (halves, np.uint8), "scale": (groups, np.float32), "zero": (groups, np.uint8)}


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
