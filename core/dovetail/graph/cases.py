"""A conformance case: one op with concrete lengths and attributes, and the steps to run it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from .graph import Attribute


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One op, small enough to compute by hand.

    name        unique within the op
    dtype       of the graph: f32, bf16 or f16
    axes        lengths of the op's axis letters, those of the step (T, N, R, P) left out
    leading     axes between T and the op's own, where the op says "*": () for [T, W], (4,) for [T, 4, W]
    attributes  of the node
    weights     optional weights that are present
    steps       new tokens per row, step after step: ((5, 1), (1, 0, 3)); rows keep their cache from step to step, and
                a row of 0 sits the step out
    position    rotary position of a row's first token
    outputs     which of a step's tokens are asked for: all, the last of each row, or none
    """

    op: str
    name: str
    dtype: str
    axes: Mapping[str, int] = field(default_factory=dict)
    leading: tuple[int, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    steps: tuple[tuple[int, ...], ...] = ((7,),)
    position: int = 0
    outputs: Literal["all", "last", "none"] = "all"

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", MappingProxyType(dict(self.axes)))
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))

    def __str__(self) -> str:
        return f"{self.op}/{self.name}/{self.dtype}"
