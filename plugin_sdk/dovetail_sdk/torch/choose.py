"""Putting a table of kernels together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dovetail_sdk.runner import Kernel


def either(first: Kernel, otherwise: Kernel) -> Kernel:
    """The first where it supports a node, else the other."""
    return replace(first, otherwise=otherwise)


def over(own: Mapping[str, Kernel], plain: Mapping[str, Kernel]) -> dict[str, Kernel]:
    """A platform's own kernels before the plain ones of the same op; ops that have only one, as they are."""
    mixed = {op: either(kernel, plain[op]) if op in plain else kernel for op, kernel in own.items()}
    return {**plain, **mixed}
