"""Opening an NVIDIA GPU: which of torch's devices it is."""

from __future__ import annotations

import torch
from dovetail.errors import PlatformError
from dovetail.platform import Device
from dovetail_sdk.gpu.opening import open_gpu

from . import driver
from .select import chip


def open_one(device: str, group: str | None = None) -> Device:
    """A device of this process; see open_gpu."""
    return open_gpu(device, group, find=find, chip=chip)


def find(device: str) -> tuple[int, str]:
    """Torch's number of a device, which follows CUDA_VISIBLE_DEVICES where the driver's does not, and "sm_90".

    Raises PlatformError.
    """
    if not torch.cuda.is_available():
        raise PlatformError(
            f"torch {torch.__version__} (CUDA {torch.version.cuda}) cannot use the driver here; see nvidia-smi"
        )
    wanted = driver.uuid(device).removeprefix("GPU-")
    for index in range(torch.cuda.device_count()):
        if str(torch.cuda.get_device_properties(index).uuid) == wanted:
            major, minor = torch.cuda.get_device_capability(index)
            return index, f"sm_{major}{minor}"
    raise PlatformError(f"cuda:{device} is hidden from this process by CUDA_VISIBLE_DEVICES")
