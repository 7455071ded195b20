"""Who it is and what it can do."""

from __future__ import annotations

from collections.abc import Sequence

from dovetail.graph import BF16, F16, F32, INT8
from dovetail.platform import CacheForm, Capabilities, Device, DeviceInfo, Platform
from dovetail_sdk.reference import KERNELS as REFERENCE
from dovetail_sdk.runner import Kernel, KernelDevice, NumpyBackend, host_memory

from .kernels import attention, linear, pack_linear, whole_heads

KERNELS = {
    **REFERENCE,
    "linear": Kernel("toy linear", linear, pack=pack_linear),
    "attention": Kernel("toy attention", attention, supports=whole_heads),
}
del KERNELS["attention_write"]  # the core takes it apart into kv_write and our attention


class ToyPlatform(Platform):
    """Taken only when named."""

    name = "toy"
    contract = 1

    def probe(self) -> list[DeviceInfo]:
        described = "this computer, slowly"
        return [DeviceInfo(id="0", description=described, memory_bytes=host_memory().total)]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        capabilities = Capabilities(
            ops={},  # from the table
            compute_dtypes=("f32", "bf16", "f16"),
            weight_forms=(F32, BF16, F16, INT8),
            cache_forms=(CacheForm("f32", 1, 256), CacheForm("bf16", 1, 256)),
        )
        return KernelDevice(NumpyBackend(), KERNELS, capabilities)
