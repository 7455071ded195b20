"""What a process of a test's mesh opens."""

from __future__ import annotations

import torch
from dovetail.errors import PlatformError
from dovetail_sdk.torch import KERNELS, TorchDevice
from dovetail_sdk.torch.collectives import collectives
from torch_cpu import CAPABILITIES


def open_one(device: str, group: str) -> TorchDevice:
    """A device that exchanges numbers with the others of its group."""
    if device == "broken":
        raise PlatformError("there is no such chip")
    return TorchDevice(torch.device("cpu"), {**KERNELS, **collectives()}, CAPABILITIES)
