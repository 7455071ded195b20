"""What every launcher needs: functions by file and name, and new arrays."""

from __future__ import annotations

from pathlib import Path

from dovetail_sdk.opencl import Array, Function, Machine, OpenclBackend, temporary
from dovetail_sdk.opencl.programs import Macro

from dovetail_xpu.select import Variant

_HERE = Path(__file__).parent


class Tools:
    """A backend and the variants that were chosen for its device."""

    def __init__(self, backend: OpenclBackend, variant: Variant) -> None:
        self.backend, self.variant = backend, variant
        self.machine: Machine = backend.machine

    def function(self, file: str, name: str, signature: str, **macros: Macro) -> Function:
        """See Programs.function; `file` is one of this folder."""
        return self.backend.programs.function(_HERE / file, name, signature, **macros)

    def new(self, shape: tuple[int, ...], dtype: str) -> Array:
        """For an output."""
        return temporary(self.machine, shape, dtype)


def ceil(value: int, divisor: int) -> int:
    """value / divisor, rounded up."""
    return -(-value // divisor)
