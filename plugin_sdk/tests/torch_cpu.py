"""The torch toolkit as a platform: plain torch on the host, with and without its steps captured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from dovetail.graph import BF16, COMPUTE_DTYPES, F16, F32, INT4, INT8
from dovetail.platform import CacheForm, Capabilities, Device, DeviceInfo, Platform
from dovetail_sdk.torch import KERNELS, TYPES, RecordingCapture, TorchDevice

CAPABILITIES = Capabilities(
    ops={},
    compute_dtypes=COMPUTE_DTYPES,
    weight_forms=(F32, F16, BF16, INT8, INT4),
    cache_forms=tuple(CacheForm(form, 1, 1024) for form in TYPES),
    fused_ops=("add_rms_norm", "split_gated_activation"),
    rewrites=frozenset({"merge_qkv", "merge_gate_up"}),
    columns=frozenset({"token_types"}),
)


class TorchPlatform(Platform):
    """One device, "0"."""

    name = "torch"
    contract = 1
    _capture = None

    def probe(self) -> list[DeviceInfo]:
        return [DeviceInfo(id="0", description=f"torch {torch.__version__} on the host")]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        return TorchDevice(torch.device("cpu"), KERNELS, CAPABILITIES, capture=self._capture)


class RecordedPlatform(TorchPlatform):
    """Steps of one token per row run by the policy of captured work."""

    @staticmethod
    def _capture(device: torch.device) -> RecordingCapture:
        return RecordingCapture()
