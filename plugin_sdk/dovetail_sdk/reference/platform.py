"""The reference platform: the kernel-table runner on the definitions of the ops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dovetail.graph import BF16, COMPUTE_DTYPES, F16, F32, FP8, INT4, INT8
from dovetail.graph import OPS as SPECS
from dovetail.platform import CacheForm, Capabilities, Device, DeviceInfo, Platform

from dovetail_sdk.runner import Kernel, KernelDevice, NumpyBackend, host_memory

from .ops import OPS

FORMS = ("f32", "bf16", "f16")
"""Cache forms."""

KERNELS = {
    name: Kernel(
        f"numpy {name}",
        function,
        revision=SPECS[name].revision,
        note="the definition of the op",
    )
    for name, function in OPS.items()
}
"""Every op."""


class ReferencePlatform(Platform):
    """The lowest rank of all: taken by itself only where there is nothing else."""

    name = "reference"
    rank = 1

    def probe(self) -> list[DeviceInfo]:
        """One device, "0"."""
        described = f"NumPy {np.__version__} in f32, plain and slow"
        return [DeviceInfo(id="0", description=described, memory_bytes=host_memory().total)]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        return ReferenceDevice()


class ReferenceDevice(KernelDevice):
    """NumPy on the host.

    steps_in_flight  what to claim; every step is computed before `run` returns all the same
    """

    def __init__(self, *, steps_in_flight: int = 1) -> None:
        capabilities = Capabilities(
            ops={},
            compute_dtypes=COMPUTE_DTYPES,
            weight_forms=(F32, F16, BF16, INT8, FP8, INT4),
            cache_forms=tuple(CacheForm(form, 1, 1024) for form in FORMS),
            columns=frozenset({"token_types"}),
            steps_in_flight=steps_in_flight,
        )
        super().__init__(NumpyBackend(), KERNELS, capabilities, checked=True)
