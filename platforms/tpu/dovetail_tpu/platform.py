"""TPUs as a platform: who is here, decided without importing jax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata, util

from dovetail.errors import PlatformError
from dovetail.platform import Device, DeviceInfo, DeviceOption, Platform

from . import probe
from .hosts import PORT, hosts_here
from .probe import EMULATED_DEVICES

JAX_RELEASE = "0.10"


class TpuPlatform(Platform):
    """The TPU chips of this machine, and the host as 8 emulated ones that are used only when they are named; on the first host
    of a slice also those of the others, which follow (`follow.py`)."""

    name = "tpu"
    rank = 40
    options = (
        DeviceOption(
            name="kernels",
            help="kernels in Pallas where there is one, or what XLA makes of everything",
            default="pallas on chips, xla on emulated devices, where Pallas is interpreted and slow",
            values=("auto", "pallas", "xla"),
        ),
        DeviceOption(
            name="compile_cache",
            help="keep compiled programs on disk, in dovetail/jax of the user's cache folder",
            default="on",
            values=("on", "off"),
        ),
        DeviceOption(
            name="hosts_port",
            help="where a mesh over several hosts meets; the next port is taken too",
            default=str(PORT),
            low=1024,
            high=65534,
        ),
    )

    def probe(self) -> list[DeviceInfo]:
        missing = missing_reason()
        chips = [
            DeviceInfo(
                id=str(index),
                description=f"TPU {chip.name}, {chip.hbm_gib} GiB",
                memory_bytes=chip.hbm_gib << 30,
                unavailable=missing or probe.missing_libtpu(),
            )
            for index, chip in enumerate(probe.chips_here())
        ]
        emulated = [
            DeviceInfo(
                id=f"cpu{index or ''}",
                description=f"TPU emulated by this host, virtual device {index} of {EMULATED_DEVICES}",
                memory_bytes=probe.host_memory_bytes(),
                unavailable=missing,
                emulated=True,
            )
            for index in range(EMULATED_DEVICES)
        ]
        return [*chips, *_of_others(chips), *emulated, *_of_others(emulated)]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        return self.open_with(devices, {})

    def open_with(self, devices: Sequence[DeviceInfo], options: Mapping[str, str]) -> Device:
        for info in devices:
            if info.unavailable is not None:
                raise PlatformError(f"tpu:{info.id} cannot be used: {info.unavailable}")
        from .opening import open_device

        return open_device(devices, options)


def _of_others(own: Sequence[DeviceInfo]) -> list[DeviceInfo]:
    """The same devices on the hosts that this one can lead."""
    hosts = hosts_here()
    return [
        replace(
            info, id=f"h{host}.{info.id}", description=f"{info.description}, on {hosts.names[host]}"
        )
        for host in hosts.others
        for info in own
    ]


def missing_reason() -> str | None:
    """Why jax cannot be used, from what is installed alone; None if it can."""
    way_out = "install it with: pip install 'jax>=0.10.2,<0.11'"
    try:
        if util.find_spec("jax") is None or util.find_spec("jaxlib") is None:
            return f"the package jax is not installed; {way_out}"
        version = metadata.version("jax")
    except (ImportError, ValueError, metadata.PackageNotFoundError) as error:
        return f"the package jax is broken ({error}); {way_out}"
    if version.split(".")[:2] != JAX_RELEASE.split("."):
        return f"jax {version} is installed and {JAX_RELEASE} is needed; {way_out}"
    return None
