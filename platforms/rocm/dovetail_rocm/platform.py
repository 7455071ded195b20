"""AMD GPUs as a platform: who is here, decided without importing torch."""

from __future__ import annotations

from collections.abc import Sequence

from dovetail.errors import PlatformError
from dovetail.platform import Device, DeviceInfo, Platform
from dovetail_sdk.emulation import emulated_devices

from . import driver


class RocmPlatform(Platform):
    """Every GPU that the driver knows, and `emulated`, taken only by its name."""

    name = "rocm"
    contract = 1
    rank = 45

    def probe(self) -> list[DeviceInfo]:
        """The driver's devices by its own numbers; one that says why where there is none."""
        return [*driver.devices(), *emulated_devices()]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        """One device, or a mesh with a process for each. Raises PlatformError."""
        for info in devices:
            if info.unavailable:
                raise PlatformError(f"rocm:{info.id} cannot be used: {info.unavailable}")
        if len({info.emulated for info in devices}) != 1:
            raise PlatformError("devices and emulated ones cannot be in one mesh")
        ids = [info.id for info in devices]
        from .open import open_mesh, open_one

        return open_one(ids[0]) if len(ids) == 1 else open_mesh(ids)
