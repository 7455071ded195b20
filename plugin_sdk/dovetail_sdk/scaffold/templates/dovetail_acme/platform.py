"""Who the platform is, which devices it sees, and what they can do."""

from __future__ import annotations

from collections.abc import Sequence

from dovetail.graph import BF16, F16, F32, INT4, INT8
from dovetail.platform import CacheForm, Capabilities, Device, DeviceInfo, Platform
from dovetail_sdk.runner import KernelDevice, host_memory

from .backend import AcmeBackend
from .kernels import table


class AcmePlatform(Platform):
    """Importing this module must stay quick: import a framework or a driver in `open`, not here."""

    name = "acme"
    contract = 1
    rank = None  # only when named; a number takes part when the user names no platform

    def probe(self) -> list[DeviceInfo]:
        """The devices here. Touches none of them and never raises: a reason goes into `unavailable`."""
        memory = host_memory().total
        return [DeviceInfo(id="0", description="acme, in NumPy for now", memory_bytes=memory)]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        """Take the device."""
        backend = AcmeBackend()
        return KernelDevice(backend, table(backend), CAPABILITIES)


CAPABILITIES = Capabilities(
    ops={},  # KernelDevice takes them from the table
    compute_dtypes=("f32", "bf16", "f16"),
    weight_forms=(F32, BF16, F16, INT8, INT4),
    cache_forms=(CacheForm("f32", 1, 256), CacheForm("bf16", 1, 256), CacheForm("f16", 1, 256)),
)
