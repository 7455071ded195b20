"""Steps, caches and errors for the tests of the Triton kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from dovetail_sdk.runner import Layer, Step

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
ERROR = {torch.float32: 1e-10, torch.bfloat16: 2e-5, torch.float16: 1e-6}
"""Normalised mean squared error that a type's rounding explains."""


@dataclass
class DeviceStep:
    """A step as kernels see it, over a step of the reference."""

    reference: Step
    captured: bool = False
    made: dict[object, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.reference.past.size

    @property
    def most_new(self) -> int:
        return int(np.diff(self.reference.starts).max())

    @property
    def longest(self) -> int:
        if self.captured:
            return self.reference.tables[0].shape[1] * self.reference.block_size
        return max(self.reference.end(row) for row in range(self.rows))

    @property
    def host(self) -> Step | None:
        return None if self.captured else self.reference

    @property
    def starts(self) -> torch.Tensor:
        return torch.tensor(self.reference.starts)

    @property
    def past(self) -> torch.Tensor:
        return torch.tensor(self.reference.past)

    @property
    def tables(self) -> tuple[torch.Tensor, ...]:
        return tuple(torch.tensor(table) for table in self.reference.tables)

    def places(self, group: int) -> tuple[torch.Tensor, torch.Tensor]:
        blocks, offsets = self.reference.places(group)
        return torch.tensor(blocks), torch.tensor(offsets.astype(np.int32))

    def once(self, key: object, make: Callable[[], Any]) -> Any:
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def upload(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array)


def step_of(
    new: Sequence[int], past: Sequence[int], size: int, seed: int = 0, captured: bool = False
) -> DeviceStep:
    """Rows with tables of shuffled blocks; block 0 is scrap."""
    starts = np.concatenate([[0], np.cumsum(new)]).astype(np.int32)
    before = np.array(past, np.int32)
    blocks = int(max(-(-(before + np.array(new)) // size)))
    order = np.random.default_rng(seed).permutation(len(new) * blocks) + 1
    table = order.reshape(len(new), blocks).astype(np.int32)
    return DeviceStep(Step(starts, before, (table,), size), captured)


def filled_layer(
    step: DeviceStep, kv_heads: int, width: int, value_width: int, dtype: torch.dtype, seed: int = 1
) -> tuple[Layer, Layer]:
    """A cache of random numbers, in fp8 with scales, with NaN in the scrap block: for the kernels, and for the reference."""
    blocks = int(step.reference.tables[0].max()) + 1
    random = np.random.default_rng(seed)
    planes, scales, expected = [], [], []
    for size in (width, value_width):
        shape = (blocks, step.reference.block_size, kv_heads, size)
        plane = torch.tensor(random.standard_normal(shape), dtype=torch.float32)
        plane[0] = float("nan")
        planes.append(plane.to(dtype))
        scales.append(torch.tensor(random.uniform(0.2, 3, shape[:3]), dtype=torch.float32))
        each = scales[-1][..., None] if dtype.itemsize == 1 else 1.0
        expected.append((planes[-1].float() * each).numpy())
    kept = (scales[0], scales[1]) if dtype.itemsize == 1 else None
    return Layer(0, *planes, kept), Layer(0, *expected)


def random_tensor(
    shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 2
) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape), dtype=dtype)


def error(found: torch.Tensor, wanted: np.ndarray) -> float:
    """Normalised mean squared error; infinite where a number is missing or one is not a number."""
    numbers = found.float().numpy()
    if numbers.shape != wanted.shape or not np.isfinite(numbers).all():
        return float("inf")
    return float(((numbers - wanted) ** 2).mean() / max((wanted**2).mean(), 1e-30))
