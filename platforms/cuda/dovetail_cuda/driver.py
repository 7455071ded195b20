"""What NVIDIA's management library says of the machine, and what torch was built for."""

from __future__ import annotations

from importlib import metadata, util
from typing import Any

from dovetail.platform import DeviceInfo

OLDEST = (8, 0)
"""Compute capability: Ampere. Older chips have no bf16 and no asynchronous copies to shared memory."""
OLDEST_DRIVER = 12000
"""CUDA 12.0, as the library writes it: 1000 * major + 10 * minor."""
TORCH = "install a build of torch for CUDA: pip install torch"


def devices() -> list[DeviceInfo]:
    """All GPUs; a single one that cannot be used where nothing can be asked."""
    try:
        import pynvml
    except ImportError:
        return [_nothing("the package nvidia-ml-py is not installed: pip install nvidia-ml-py")]
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [_nothing(f"there is no usable NVIDIA driver here: {error}")]
    try:
        common = _driver_reason(pynvml) or torch_reason()
        return [_device(pynvml, at, common) for at in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        return [_nothing(f"the NVIDIA driver does not answer: {error}; see nvidia-smi")]
    finally:
        pynvml.nvmlShutdown()


def uuid(device: str) -> str:
    """The name that a device has for everybody: "GPU-...". Raises pynvml.NVMLError."""
    import pynvml

    pynvml.nvmlInit()
    try:
        return _text(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(int(device))))
    finally:
        pynvml.nvmlShutdown()


def torch_reason() -> str | None:
    """Why torch cannot be used, from what is installed alone; None if it can."""
    if util.find_spec("torch") is None:
        return f"torch is not installed; {TORCH}"
    if util.find_spec("triton") is None:
        return "triton is not installed: pip install triton"
    version = metadata.version("torch")
    if "+cpu" in version or "+rocm" in version:
        return f"torch {version} is not built for CUDA; {TORCH}"
    return None


def _driver_reason(nvml: Any) -> str | None:
    speaks = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
    if speaks >= OLDEST_DRIVER:
        return None
    version = _text(nvml.nvmlSystemGetDriverVersion())
    return (
        f"driver {version} speaks CUDA {speaks // 1000}.{speaks % 1000 // 10}; "
        "12.0 or newer is needed: update the driver"
    )


def _device(nvml: Any, at: int, common: str | None) -> DeviceInfo:
    handle = nvml.nvmlDeviceGetHandleByIndex(at)
    name = _text(nvml.nvmlDeviceGetName(handle))
    capability = tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle))
    too_old = None
    if capability < OLDEST:
        too_old = "compute capability {}.{}; 8.0 (Ampere) or newer is needed".format(*capability)
    return DeviceInfo(
        id=str(at),
        description="{}, sm_{}{}".format(name, *capability),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        unavailable=too_old or common,
    )


def _nothing(reason: str) -> DeviceInfo:
    return DeviceInfo(id="0", description="NVIDIA GPU", unavailable=reason)


def _text(value: str | bytes) -> str:
    """Old releases of the library answer in bytes."""
    return value.decode() if isinstance(value, bytes) else value
