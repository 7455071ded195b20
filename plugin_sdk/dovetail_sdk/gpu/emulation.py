"""Standing in for a chip on the host: torch's CPU, with Triton's kernels interpreted or without them."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from dovetail.errors import PlatformError
from dovetail.platform import DeviceInfo

INTERPRETED, HOST = "emulated", "host"
"""Ids of the device that interprets Triton's kernels, some ten milliseconds for each of their programs, and of the first of
those that run torch's own kernels in their place: everything else is the platform's."""
MEMBERS = 4
"""Devices of the second kind, so that a mesh can be made of them."""


def emulated_devices() -> list[DeviceInfo]:
    """None where torch or Triton is not installed."""
    if find_spec("torch") is None or find_spec("triton") is None:
        return []
    ids = [INTERPRETED, *(f"{HOST}{number or ''}" for number in range(MEMBERS))]
    kernels = {INTERPRETED: "Triton's kernels interpreted"}
    return [
        DeviceInfo(
            id=name,
            description=f"torch on the host's processor, {kernels.get(name, 'its own kernels')}: for tests",
            emulated=True,
        )
        for name in ids
    ]


def is_emulated(device: str) -> bool:
    """Whether a device of this id stands for a chip."""
    return device == INTERPRETED or device.startswith(HOST)


def interpret() -> None:
    """Have Triton interpret kernels in this process; PlatformError where it has compiled ones already."""
    os.environ["TRITON_INTERPRET"] = "1"  # read by Triton when a kernel is defined
    if "dovetail_sdk.triton" not in sys.modules:
        return
    from triton import knobs

    from dovetail_sdk.triton import norms

    if not knobs.runtime.interpret or hasattr(norms, "JITFunction"):
        raise PlatformError("kernels were compiled in this process; emulate in another one")
