"""Opening an AMD GPU: which of torch's devices it is. Torch calls HIP devices cuda, and RCCL nccl."""

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
    """Torch's number of a device, which is the driver's, and "gfx942".

    Raises PlatformError for one that torch does not see as the driver does.
    """
    index = int(device)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise PlatformError(
            f"torch {torch.__version__} (HIP {torch.version.hip}) does not see rocm:{index}; HIP_VISIBLE_DEVICES and "
            "ROCR_VISIBLE_DEVICES must show all GPUs to this process, see rocminfo"
        )
    found = str(torch.cuda.get_device_properties(index).gcnArchName).partition(":")[0]
    if found not in driver.ARCHITECTURES:
        raise PlatformError(f"rocm:{index} is {found}, none of {', '.join(driver.ARCHITECTURES)}")
    return index, found
