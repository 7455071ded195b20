"""What ops see while a step is traced: its arrays, the cache as it is so far, and how weights are multiplied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from dovetail.graph import WeightForm

from .buckets import Bucket
from .chips import Chip

Array = jax.Array
Planes = Mapping[str, Array]

MESH = "mesh"
"""Name of the axis along which the members of a mesh are."""

DTYPES: Mapping[str, Any] = {
    "f32": jnp.float32,
    "bf16": jnp.bfloat16,
    "f16": jnp.float16,
    "fp8": jnp.float8_e4m3fn,
}
"""Compute dtypes, dense forms and cache forms as types of arrays."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a program is made.

    pallas     kernels in Pallas where there is one
    interpret  Pallas is interpreted, because there is no chip
    races      and looks for races, much more slowly
    members    devices of the mesh
    """

    chip: Chip
    pallas: bool = False
    interpret: bool = False
    races: bool = False
    members: int = 1

    @property
    def interpreted(self) -> Any:
        """What pallas_call takes as `interpret`."""
        if self.races:
            from jax.experimental.pallas import tpu

            return tpu.InterpretParams(detect_races=True)
        return self.interpret


@dataclass(frozen=True, slots=True)
class Loaded:
    """A weight in a trace: how it is stored, and its planes."""

    form: WeightForm
    planes: Planes

    @property
    def data(self) -> Array:
        return self.planes["data"]


@dataclass(slots=True)
class Step:
    """A step that is being traced.

    feed    the arrays of feed.format_of by name, tokens resolved
    caches  per cache group [L, B, K, S, W]; an op that writes puts the new array here
    """

    settings: Settings
    bucket: Bucket
    feed: dict[str, Array]
    caches: list[Array]


@dataclass(frozen=True, slots=True)
class Layer:
    """The cache layer of a node: group, and its place in the group's array, which may be traced."""

    group: int
    place: Array | int
