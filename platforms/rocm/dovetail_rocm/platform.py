"""AMD GPUs as a platform: who is here, decided without importing torch."""

from __future__ import annotations

from dovetail.platform import DeviceInfo
from dovetail_sdk.gpu import GpuPlatform

from . import driver


class RocmPlatform(GpuPlatform):
    """Every GPU that the driver knows, and what stands in for one, taken only by its name."""

    name = "rocm"
    contract = 1
    rank = 45
    _opens = "dovetail_rocm.open:open_one"

    def _devices(self) -> list[DeviceInfo]:
        return driver.devices()
