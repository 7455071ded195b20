"""Who is here and what each device can do. pyopencl is imported when devices are looked for, not before."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from dovetail.errors import PlatformBroken, PlatformError
from dovetail.graph import BF16, F16, F32, INT8, WeightForm
from dovetail.platform import (
    CacheForm,
    Capabilities,
    Device,
    DeviceInfo,
    DeviceOption,
    Feature,
    Platform,
)
from dovetail_sdk.opencl import (
    STEPS_IN_FLIGHT,
    Found,
    Machine,
    OpenclBackend,
    OpenclDevice,
    Programs,
    cache_folder,
    find,
)

from .kernels import MOST_WIDTH, kernels
from .select import choose, taken_for_gpu

log = logging.getLogger("dovetail.xpu")

INT4 = tuple(WeightForm("int4_group", group=group) for group in (128, 64, 32))
_DTYPES = ("f32", "bf16", "f16")
_LANES = "-lanes"


class XpuPlatform(Platform):
    """Intel GPUs; any other OpenCL device when it is named."""

    name = "xpu"
    contract = 1
    options = (
        DeviceOption(
            name="profile",
            help="log the time of every kernel when the device is closed; costs an event per call",
            default="off",
            values=("off", "on"),
        ),
    )

    @property
    def rank(self) -> int | None:  # type: ignore[override]
        """Taken by itself only where there is an Intel GPU."""
        try:
            return 30 if any(found.intel_gpu for found in find()) else None
        except PlatformBroken:
            return None

    def probe(self) -> list[DeviceInfo]:
        try:
            devices = find()
        except PlatformBroken as error:
            return [DeviceInfo(id="0", description="OpenCL", unavailable=str(error))]
        return [_info(found) for found in devices] + [
            _info(found, lanes=True) for found in devices if not found.gpu
        ]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        return self.open_with(devices, {})

    def open_with(self, devices: Sequence[DeviceInfo], options: Mapping[str, str]) -> Device:
        """Raises PlatformError for a mesh, and for a device or driver that has gone."""
        if len(devices) != 1:
            raise PlatformError(f"the xpu platform opens exactly one device, not {len(devices)}")
        if reason := devices[0].unavailable:
            raise PlatformError(f"the xpu platform cannot be used: {reason}")
        wanted = devices[0].id
        found = next((found for found in find() if found.id == wanted.removesuffix(_LANES)), None)
        if found is None:
            raise PlatformError(f"there is no OpenCL device xpu:{wanted} any more")
        if wanted.endswith(_LANES):
            found = taken_for_gpu(found)
        return XpuDevice(found, profiling=options.get("profile") == "on")


def _info(found: Found, *, lanes: bool = False) -> DeviceInfo:
    """A device, or a CPU that runs a GPU's kernels: for tests of them where there is no GPU."""
    return DeviceInfo(
        id=found.id + _LANES * lanes,
        description="a GPU's kernels on " * lanes + found.description,
        memory_bytes=found.memory_bytes,
        emulated=lanes,
    )


class XpuDevice(OpenclDevice):
    """One OpenCL device."""

    def __init__(self, found: Found, *, profiling: bool = False) -> None:
        self._machine = machine = Machine(found, profiling=profiling)
        backend = OpenclBackend(machine, Programs(machine, cache_folder()))
        super().__init__(
            backend, kernels(backend, choose(found, machine.units)), capabilities(found)
        )

    def close(self) -> None:
        if self._machine.profiling:
            for name, calls, seconds in self._machine.times():
                log.warning("kernel=%s calls=%d seconds=%.4f", name, calls, seconds)
        super().close()


def capabilities(found: Found) -> Capabilities:
    """Everything is stored in any of the types on any device; arithmetic is in f32."""
    return Capabilities(
        ops={},  # from the table
        compute_dtypes=("f16", "bf16", "f32") if found.gpu else _DTYPES,
        weight_forms=(F32, BF16, F16, INT8, *INT4),
        cache_forms=(
            CacheForm("f16", 2, 1024),
            CacheForm("bf16", 2, 1024, compute_dtypes=("bf16", "f32")),
            CacheForm("f32", 2, 1024, compute_dtypes=("f32",)),
        )
        if found.gpu
        else (
            CacheForm("f32", 2, 1024, compute_dtypes=("f32",)),
            CacheForm("bf16", 2, 1024, compute_dtypes=("bf16", "f32")),
            CacheForm("f16", 2, 1024, compute_dtypes=("f16", "f32")),
        ),
        fused_ops=("add_rms_norm", "split_gated_activation"),
        rewrites=frozenset({"merge_gate_up", "merge_qkv"}),
        columns=frozenset({"token_types"}),
        steps_in_flight=STEPS_IN_FLIGHT,
        max_width=MOST_WIDTH,
        features=_untried(found),
    )


def _untried(found: Found) -> tuple[Feature, ...]:
    """What nobody has run: the suite was run on CPU drivers only."""
    if not found.gpu:
        return ()
    reason = "compiled for Intel GPUs and run on CPU drivers; nobody has run it on this device"
    return tuple(Feature(f"dtype:{dtype}", "unverified", reason) for dtype in _DTYPES)
