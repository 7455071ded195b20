"""Arrays of the device: a piece of memory, a shape, and the distance between rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

from dovetail_sdk.runner import NUMPY_TYPES

from .machine import Machine, Storage

TYPES: dict[str, np.dtype[Any]] = {
    **NUMPY_TYPES,
    "i32": np.dtype(np.int32),
    "u32": np.dtype(np.uint32),
    "i8": np.dtype(np.int8),
    "u8": np.dtype(np.uint8),
}
"""NumPy's type of everything that an Array may hold."""

NAMES = {dtype: name for name, dtype in TYPES.items()}


@dataclass(slots=True, eq=False)
class Array:
    """Numbers on the device. The axes after the first are dense; rows along the first are `step` numbers apart.

    at    where the first number is, in numbers from the start of the storage
    made  what was derived from it and is worth keeping as long as it lives
    """

    storage: Storage
    shape: tuple[int, ...]
    dtype: str
    at: int = 0
    step: int = 0
    made: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.step:
            self.step = self.width

    @property
    def buffer(self) -> Any:
        """What a kernel takes."""
        return self.storage.buffer

    @property
    def width(self) -> int:
        """Numbers of a row along the first axis."""
        return prod(self.shape[1:])

    @property
    def size(self) -> int:
        """Numbers in all."""
        return prod(self.shape)

    @property
    def dense(self) -> bool:
        """Whether no gap is between the rows."""
        return self.step == self.width or self.shape[0] <= 1

    @property
    def lines(self) -> tuple[int, int, int]:
        """The array as lines along its last axis: (lines, lines per row of the first axis, numbers of a line)."""
        inner = prod(self.shape[1:-1])
        return self.shape[0] * inner, max(inner, 1), self.shape[-1]

    def columns(self, start: int, width: int) -> Array:
        """Columns start .. start + width of a matrix, without a copy."""
        return Array(self.storage, (self.shape[0], width), self.dtype, self.at + start, self.step)

    def shaped(self, *shape: int) -> Array:
        """The axes after the first become `shape`, without a copy."""
        return Array(self.storage, (self.shape[0], *shape), self.dtype, self.at, self.step)


def temporary(machine: Machine, shape: tuple[int, ...], dtype: str) -> Array:
    """An array with nothing in it yet, for a value of a step."""
    return Array(machine.temporary(prod(shape) * TYPES[dtype].itemsize), shape, dtype)


def name_of(array: np.ndarray[Any, Any]) -> str:
    """The name of a NumPy array's type; TypeError for one that the device has not."""
    if array.dtype == ml_dtypes.bfloat16:
        return "bf16"
    if array.dtype not in NAMES:
        raise TypeError(f"an array of {array.dtype} cannot be brought to the device")
    return NAMES[array.dtype]
