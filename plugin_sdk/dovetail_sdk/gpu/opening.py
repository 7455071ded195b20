"""Opening one GPU, or what stands in for it, in this process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from dovetail.platform import Device

from dovetail_sdk.torch import Capture, CudaCapture, RecordingCapture, TorchDevice

from . import choosing
from .chip import Chip
from .emulation import HOST, INTERPRETED, interpret, is_emulated


def open_gpu(
    device: str,
    group: str | None,
    *,
    find: Callable[[str], tuple[int, str]],
    chip: Callable[[str], Chip],
) -> Device:
    """A device of this process.

    device  an id of `probe`
    group   "nccl" or "gloo" where this process is a member of a mesh, whose process group is there already
    find    id -> torch's number of the device and its architecture; raises PlatformError
    chip    architecture -> what its kernels are chosen for
    """
    capture: Callable[[torch.device], Capture]
    if is_emulated(device):
        if device == INTERPRETED:
            interpret()
        architecture = INTERPRETED if device == INTERPRETED else HOST
        place, capture = torch.device("cpu"), _recording
    else:
        index, architecture = find(device)
        place, capture = torch.device("cuda", index), CudaCapture
        torch.cuda.set_device(index)
        # sums of products stay in f32 where the library splits them
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    chosen = chip(architecture)
    kernels = choosing.kernels(chosen)
    if group is not None:
        from dovetail_sdk.torch.collectives import collectives

        kernels = {**kernels, **collectives()}
    return TorchDevice(
        place,
        kernels,
        choosing.capabilities(chosen),
        sampling=choosing.sampling(chosen),
        capture=capture,
        fp8=chosen.fp8,
    )


def _recording(device: object) -> RecordingCapture:
    return RecordingCapture()
