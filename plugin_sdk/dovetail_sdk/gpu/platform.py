"""A platform of GPUs: who is here, decided without importing torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from importlib import import_module

from dovetail.errors import PlatformError
from dovetail.platform import Device, DeviceInfo, Platform

from .emulation import emulated_devices, is_emulated


class GpuPlatform(Platform):
    """Every GPU that the vendor's driver knows, and stand-ins, which are taken only by their names.

    _opens  "module:function", which imports torch: called with a device's id and, in a process of a mesh, the kind of
            its process group; returns a Device
    """

    _opens: str

    @abstractmethod
    def _devices(self) -> list[DeviceInfo]:
        """The driver's devices by its own numbers; one that says why where there is none."""

    def probe(self) -> list[DeviceInfo]:
        return [*self._devices(), *emulated_devices()]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        """One device, or a mesh with a process for each."""
        for info in devices:
            if info.unavailable:
                raise PlatformError(f"{self.name}:{info.id} cannot be used: {info.unavailable}")
        if len({info.emulated for info in devices}) != 1:
            raise PlatformError("devices and emulated ones cannot be in one mesh")
        ids = [info.id for info in devices]
        if len(ids) > 1:
            from dovetail_sdk.torch.mesh import open_mesh

            return open_mesh(self._opens, ids, "gloo" if is_emulated(ids[0]) else "nccl")
        module, _, function = self._opens.partition(":")
        opened: Device = getattr(import_module(module), function)(ids[0])
        return opened
