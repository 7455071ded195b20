"""Who the platform is and what it can do. MLX is imported when a device is opened, not before."""

from __future__ import annotations

import platform as host
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from dovetail.errors import PlatformBroken
from dovetail.graph import BF16, F16, F32, INT8, WeightForm
from dovetail.platform import CacheForm, Capabilities, Device, DeviceInfo, Feature, Platform
from dovetail_sdk.runner import KernelDevice, host_memory

DTYPES = ("f32", "bf16", "f16")
INT4 = tuple(WeightForm("int4_group", group=group) for group in (128, 64, 32))
APPLE = host.system() == "Darwin" and host.machine() == "arm64"


class MlxPlatform(Platform):
    """Apple silicon, or any CPU that MLX runs on."""

    name = "mlx"
    contract = 1
    rank = 20 if APPLE else None

    def probe(self) -> list[DeviceInfo]:
        """One device, "0"."""
        where = "Metal" if APPLE else f"{host.machine()} CPU"
        missing = None if find_spec("mlx") else "MLX is not installed: pip install mlx, or mlx[cpu]"
        return [
            DeviceInfo(
                id="0",
                description=f"MLX {_version()} on {where}",
                memory_bytes=host_memory().total,
                unavailable=missing,
            )
        ]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        """Raises PlatformBroken where MLX cannot be loaded."""
        try:
            from .backend import MlxBackend
            from .kernels import KERNELS
        except ImportError as error:
            raise PlatformBroken(f"MLX cannot be loaded: {error}") from error
        capabilities = Capabilities(
            ops={},  # from the table
            compute_dtypes=("bf16", "f16", "f32") if APPLE else DTYPES,
            weight_forms=(F32, BF16, F16, INT8, *INT4),
            cache_forms=tuple(CacheForm(form, 1, 1024) for form in DTYPES),
            fused_ops=("add_rms_norm", "split_gated_activation"),
            rewrites=frozenset({"merge_gate_up", "merge_qkv"}),
            features=_untried() if APPLE else (),
        )
        return KernelDevice(MlxBackend(), KERNELS, capabilities)


def _untried() -> tuple[Feature, ...]:
    reason = "the suite has run on MLX's CPU backend only"
    return tuple(Feature(f"dtype:{dtype}", "unverified", reason) for dtype in DTYPES)


def _version() -> str:
    try:
        return version("mlx")
    except PackageNotFoundError:
        return "?"
