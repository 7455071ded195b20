"""The tuning tables beside the kernels: one TOML file per kernel module, read once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from dovetail_sdk.tuning import Parameter, TuningTable, load_tuning


@cache
def table(module: str) -> TuningTable:
    """The table of a kernel module, "attention" for attention.toml. Raises PlatformBroken."""
    return load_tuning(Path(__file__).parent / f"{module}.toml")


@cache
def _found(
    module: str, architecture: str, widths: tuple[tuple[str, int], ...]
) -> Mapping[str, Parameter]:
    return table(module).find(architecture, **dict(widths))


def tuned(module: str, architecture: str, **widths: int) -> Mapping[str, Parameter]:
    """Parameters for an architecture and widths; widths that change with every step should be rounded up."""
    return _found(module, architecture, tuple(widths.items()))


def whole(parameters: Mapping[str, Parameter], name: str) -> int:
    """A parameter that is a whole number."""
    return int(parameters[name])
