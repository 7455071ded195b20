"""The CPU as a platform: who is here, decided without importing OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata, util

from dovetail.errors import PlatformError
from dovetail.platform import Device, DeviceInfo, DeviceOption, Platform

from . import host

OPENVINO_RELEASE = "2026.4"
"""The one release whose private attention op this plugin was written and tested against."""


class CpuPlatform(Platform):
    """The processor of this machine, as one device."""

    name = "cpu"
    rank = 10
    options = (
        DeviceOption(
            name="threads",
            help="threads that compute",
            default="one per usable physical core",
            low=1,
            high=4096,
        ),
        DeviceOption(
            name="numa",
            help="memory nodes whose cores compute",
            default="one, that with most cores",
            values=("one", "all"),
        ),
        DeviceOption(
            name="precision",
            help="activations beside int8 and int4 weights: 16 bits, as two terms of int8 (accurate), 8 in groups with a scale "
            "each (balanced), or 8 with one scale per token where the weights have no groups (fast)",
            default="accurate with AMX, else balanced",
            values=("accurate", "balanced", "fast"),
        ),
        DeviceOption(
            name="kernels",
            help="the platform's own kernels where they run the whole model, or OpenVINO's alone",
            default="auto",
            values=("auto", "openvino"),
        ),
    )

    def probe(self) -> list[DeviceInfo]:
        return [
            DeviceInfo(
                id="0",
                description=host.description(),
                memory_bytes=host.total_memory_bytes(),
                unavailable=missing_reason(),
            )
        ]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        return self.open_with(devices, {})

    def open_with(self, devices: Sequence[DeviceInfo], options: Mapping[str, str]) -> Device:
        if len(devices) != 1:
            raise PlatformError(
                f"the cpu platform opens exactly one device, not {len(devices)}; use --platform cpu"
            )
        if reason := devices[0].unavailable:
            raise PlatformError(f"the cpu platform cannot be used: {reason}")
        from .device import open_device

        return open_device(options)


def missing_reason() -> str | None:
    """Why OpenVINO cannot be used, from what is installed alone; None if it can."""
    way_out = f"install it with: pip install 'openvino=={OPENVINO_RELEASE}.*'"
    try:
        if util.find_spec("openvino") is None:
            return f"the package openvino is not installed; {way_out}"
        version = metadata.version("openvino")
    except (ImportError, ValueError, metadata.PackageNotFoundError) as error:
        return f"the package openvino is broken ({error}); {way_out}"
    if version.split(".")[:2] != OPENVINO_RELEASE.split("."):
        return f"openvino {version} is installed and {OPENVINO_RELEASE} is needed; {way_out}"
    return None
