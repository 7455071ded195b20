"""Opening GPUs: one in this process, several as a mesh. Torch calls HIP devices cuda."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from dovetail.errors import PlatformError
from dovetail.platform import Device
from dovetail_sdk.emulation import INTERPRETED, interpret, is_emulated
from dovetail_sdk.torch import Capture, CudaCapture, RecordingCapture, TorchDevice

from . import driver


def open_one(device: str, group: str | None = None) -> Device:
    """A device of this process.

    device  an id of `probe`
    group   "nccl" (which is RCCL here) or "gloo" where this process is a member of a mesh, whose process group is there
    """
    capture: Callable[[torch.device], Capture]
    if is_emulated(device):
        chip, architecture, capture = torch.device("cpu"), emulated(device), _recording
    else:
        index = int(device)
        architecture = architecture_of(index)
        chip, capture = torch.device("cuda", index), CudaCapture
        torch.cuda.set_device(index)
        # sums of products stay in f32 where the library splits them
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    from . import select

    chosen = select.table(architecture)
    kernels = chosen.kernels
    if group is not None:
        from dovetail_sdk.torch.collectives import collectives

        kernels = {**kernels, **collectives()}
    return TorchDevice(
        chip, kernels, select.capabilities(architecture), sampling=chosen.sampling, capture=capture
    )


def open_mesh(devices: Sequence[str]) -> Device:
    """A mesh with a process per device."""
    from dovetail_sdk.torch.mesh import open_mesh as spawn

    group = "gloo" if is_emulated(devices[0]) else "nccl"
    return spawn("dovetail_rocm.open:open_one", devices, group)


def emulated(device: str) -> str:
    """The architecture that an emulated device has in tuning tables."""
    if device == INTERPRETED:
        interpret()
    return device if device == INTERPRETED else "host"


def _recording(device: object) -> RecordingCapture:
    return RecordingCapture()


def architecture_of(index: int) -> str:
    """ "gfx942", as tuning tables call it. Raises PlatformError for one that torch does not see as the driver does."""
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise PlatformError(
            f"torch {torch.__version__} (HIP {torch.version.hip}) does not see rocm:{index}; HIP_VISIBLE_DEVICES and "
            "ROCR_VISIBLE_DEVICES must show all GPUs to this process, see rocminfo"
        )
    found = str(torch.cuda.get_device_properties(index).gcnArchName).partition(":")[0]
    if found not in driver.ARCHITECTURES:
        raise PlatformError(f"rocm:{index} is {found}, none of {', '.join(driver.ARCHITECTURES)}")
    return found
