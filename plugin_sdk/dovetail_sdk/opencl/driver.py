"""Who is here: the OpenCL devices of this machine and what each of them can do.

pyopencl is imported at the first call, never with the module: importing a plugin imports no framework.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from dovetail.errors import PlatformBroken

INTEL = 0x8086
_CPU, _GPU = 2, 4
_BY_NAME = (
    ("portable computing language", "pocl"),
    ("intel", "intel"),
    ("nvidia", "nvidia"),
    ("amd", "amd"),
    ("oclgrind", "oclgrind"),
    ("rusticl", "rusticl"),
)


@dataclass(frozen=True, slots=True)
class Features:
    """What a device has beyond OpenCL 1.2, from its extensions.

    fp16        half arithmetic
    subgroups   sub-groups of a size that the kernel demands, by Intel's extension
    dot         dot products of four int8 in a word
    matrix      sub-group matrix multiply over sixteen lanes (XMX of Xe2 and Xe-HPC; that of DG2 has eight)
    """

    fp16: bool = False
    subgroups: bool = False
    dot: bool = False
    matrix: bool = False

    def __str__(self) -> str:
        names = [name for name in ("fp16", "subgroups", "dot", "matrix") if getattr(self, name)]
        return " ".join(names) or "OpenCL 1.2"


@dataclass(frozen=True, slots=True)
class Found:
    """A device that a driver offers.

    id       what a user types: "0", "1", ... for Intel GPUs, else the driver's name ("pocl")
    handle   pyopencl's device
    gpu      it computes beside the host, not on it
    """

    id: str
    handle: Any
    description: str
    memory_bytes: int
    gpu: bool
    intel_gpu: bool
    features: Features


def opencl() -> Any:
    """pyopencl. Raises PlatformBroken with the way out."""
    os.environ.setdefault("PYOPENCL_NO_CACHE", "1")  # programs are kept by dovetail_sdk.compiled
    try:
        import pyopencl
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise PlatformBroken(
            f"pyopencl cannot be loaded ({type(error).__name__}: {reason}); install it with: pip install pyopencl"
        ) from error
    return pyopencl


def find() -> list[Found]:
    """Every device of every driver, Intel GPUs first. Raises PlatformBroken where there is no driver."""
    cl = opencl()
    try:
        handles = [device for platform in cl.get_platforms() for device in _devices(cl, platform)]
    except cl.Error as error:
        raise PlatformBroken(
            f"there is no OpenCL driver ({_first_line(error)}); install one: intel-opencl-icd for Intel GPUs, "
            "pocl-opencl-icd for any CPU"
        ) from error
    if not handles:
        raise PlatformBroken("the OpenCL drivers here offer no device")
    handles.sort(key=lambda handle: not _is_intel_gpu(handle))
    found: list[Found] = []
    for handle in handles:
        found.append(_described(handle, {other.id for other in found}))
    return found


def features_of(extensions: str) -> Features:
    """From the list of extensions that a device gives. Units of eight lanes are those that can be split between two."""
    names = set(extensions.split())
    return Features(
        fp16="cl_khr_fp16" in names,
        subgroups={"cl_intel_subgroups", "cl_intel_required_subgroup_size"} <= names,
        dot="cl_khr_integer_dot_product" in names,
        matrix="cl_intel_subgroup_matrix_multiply_accumulate" in names
        and "cl_intel_subgroup_split_matrix_multiply_accumulate" not in names,
    )


def _devices(cl: Any, platform: Any) -> list[Any]:
    try:
        return list(platform.get_devices())
    except cl.Error:  # a driver whose hardware is not here says so in this way
        return []


def _is_intel_gpu(handle: Any) -> bool:
    return bool(handle.vendor_id == INTEL and handle.type & _GPU)


def _described(handle: Any, taken: set[str]) -> Found:
    intel_gpu, gpu = _is_intel_gpu(handle), not handle.type & _CPU
    features = features_of(handle.extensions)
    name = re.sub(r"\s+", " ", handle.name).strip()
    kind = "GPU" if gpu else "CPU"
    return Found(
        id=_free_id(_name_of(handle, intel_gpu), taken),
        handle=handle,
        description=f"{name} ({kind}, {handle.max_compute_units} units, {features}; driver {handle.driver_version})",
        memory_bytes=int(handle.global_mem_size),
        gpu=gpu,
        intel_gpu=intel_gpu,
        features=features,
    )


def _name_of(handle: Any, intel_gpu: bool) -> str:
    if intel_gpu:
        return "0"
    driver = handle.platform.name.lower()
    for part, name in _BY_NAME:
        if part in driver:
            return f"{name}-cpu" if name == "intel" else name
    return re.sub(r"[^a-z0-9]+", "-", driver).strip("-") or "opencl"


def _free_id(name: str, taken: set[str]) -> str:
    """The name, or with the next number where it is taken: 0, 1, 2; pocl, pocl-1, pocl-2."""
    if name not in taken:
        return name
    number = 1
    while (other := str(number) if name == "0" else f"{name}-{number}") in taken:
        number += 1
    return other


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
