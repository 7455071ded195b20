"""The table: which kernel runs which op."""

from __future__ import annotations

from dovetail_sdk.reference import host_kernels
from dovetail_sdk.runner import Backend, Kernel

from .rms_norm import rms_norm


def table(backend: Backend) -> dict[str, Kernel]:
    """Our kernels, and NumPy on the host for every op that has none here."""
    return {
        **host_kernels(backend),
        "rms_norm": Kernel("acme rms_norm", rms_norm),
    }
