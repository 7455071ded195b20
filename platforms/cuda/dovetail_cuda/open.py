"""Opening GPUs: one in this process, several as a mesh."""

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
    group   "nccl" or "gloo" where this process is a member of a mesh, whose process group is there already
    """
    capture: Callable[[torch.device], Capture]
    if is_emulated(device):
        chip, architecture, capture = torch.device("cpu"), emulated(device), _recording
    else:
        at = torch_index(device)
        chip, architecture, capture = torch.device("cuda", at), architecture_of(at), CudaCapture
        torch.cuda.set_device(at)
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
    return spawn("dovetail_cuda.open:open_one", devices, group)


def emulated(device: str) -> str:
    """The architecture that an emulated device has in tuning tables."""
    if device == INTERPRETED:
        interpret()
    return device if device == INTERPRETED else "host"


def _recording(device: object) -> RecordingCapture:
    return RecordingCapture()


def torch_index(device: str) -> int:
    """Torch's number of a device, which follows CUDA_VISIBLE_DEVICES where the driver's does not."""
    if not torch.cuda.is_available():
        raise PlatformError(
            f"torch {torch.__version__} (CUDA {torch.version.cuda}) cannot use the driver here; see nvidia-smi"
        )
    wanted = driver.uuid(device).removeprefix("GPU-")
    for index in range(torch.cuda.device_count()):
        if str(torch.cuda.get_device_properties(index).uuid) == wanted:
            return index
    raise PlatformError(f"cuda:{device} is hidden from this process by CUDA_VISIBLE_DEVICES")


def architecture_of(index: int) -> str:
    """ "sm_90", as tuning tables call it."""
    major, minor = torch.cuda.get_device_capability(index)
    return f"sm_{major}{minor}"
