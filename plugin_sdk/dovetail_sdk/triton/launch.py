"""Starting a Triton kernel, or writing down what would be started.

Every launcher here goes through `launch`, so that the compilers of all targets can be given exactly the signatures and
constants that would run (offline.py), on a machine that has none of the devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from torch import Tensor

OPTIONS = {"warps": "num_warps", "stages": "num_stages", "waves": "waves_per_eu"}
"""Parameters of a tuning table that are the compiler's, and the compiler's names for them."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch that was written down.

    grid       programs along each axis
    arguments  positional, in the kernel's order: tensors and numbers
    constants  by name
    options    of the compiler
    """

    kernel: Any
    grid: tuple[int, ...]
    arguments: tuple[Any, ...]
    constants: Mapping[str, Any]
    options: Mapping[str, int]

    @property
    def name(self) -> str:
        """The kernel function's name."""
        return str(self.kernel.__name__).lstrip("_")


_recording: ContextVar[list[Launch] | None] = ContextVar("recording", default=None)


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    *arguments: Any,
    tuning: Mapping[str, Any],
    **constants: Any,
) -> None:
    """Run grid programs of a kernel on the current device and stream; a grid without programs runs nothing.

    tuning  parameters of the compiler (OPTIONS); others in there are for the launcher and are left alone
    """
    if 0 in grid:
        return
    options = {OPTIONS[name]: value for name, value in tuning.items() if name in OPTIONS}
    recording = _recording.get()
    if recording is not None:
        recording.append(Launch(kernel, grid, arguments, constants, options))
        return
    kernel[grid](*arguments, **constants, **options)


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Within it nothing is launched: the list that it gives fills with what would have been."""
    found: list[Launch] = []
    token = _recording.set(found)
    try:
        yield found
    finally:
        _recording.reset(token)


@dataclass(frozen=True, slots=True)
class Rows:
    """An array [*, W] as a kernel addresses it: row r begins at r // inner * outer_stride + r % inner * inner_stride.

    Pieces of a split are not copied: their rows, or their heads, lie further apart than they are wide.
    """

    array: Tensor
    count: int
    inner: int
    outer_stride: int
    inner_stride: int

    @classmethod
    def of(cls, x: Tensor) -> Rows:
        """A copy only where x has more axes than that, or its last one is not contiguous."""
        if not 2 <= x.dim() <= 3 or x.stride(-1) != 1:
            x = x.reshape(-1, x.shape[-1]).contiguous()
        inner = x.shape[1] if x.dim() == 3 else 1
        return cls(x, x.shape[0] * inner, inner, x.stride(0), x.stride(1) if inner > 1 else 0)


def ceil_div(count: int, size: int) -> int:
    """Pieces of `size` that hold `count`."""
    return -(-count // size)


def power_of_two(count: int, at_least: int = 1) -> int:
    """The smallest power of two that is no less than either."""
    return max(at_least, 1 << max(0, count - 1).bit_length())
