"""What the platform says of a machine, and which of torch's devices it opens; the rest is in plugin_sdk/tests/test_gpus.py."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from dovetail.errors import PlatformError
from dovetail.platform import DeviceInfo
from dovetail_cuda import driver
from dovetail_cuda import open as opening
from dovetail_cuda.platform import CudaPlatform
from dovetail_cuda.select import chip
from dovetail_sdk.gpu.choosing import capabilities


class Library:
    """The management library of a machine, as far as it is asked."""

    class NVMLError(Exception):
        pass

    def __init__(self, *gpus: tuple[str, tuple[int, int], int], speaks: int = 12080) -> None:
        self.gpus, self.speaks = gpus, speaks

    def nvmlInit(self) -> None:
        if not self.gpus:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlShutdown(self) -> None:
        pass

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return self.speaks

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"470.57"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, at: int) -> int:
        return at

    def nvmlDeviceGetName(self, at: int) -> str:
        return self.gpus[at][0]

    def nvmlDeviceGetCudaComputeCapability(self, at: int) -> tuple[int, int]:
        return self.gpus[at][1]

    def nvmlDeviceGetMemoryInfo(self, at: int) -> SimpleNamespace:
        return SimpleNamespace(total=self.gpus[at][2])


H200, V100 = ("NVIDIA H200", (9, 0), 141 << 30), ("Tesla V100", (7, 0), 16 << 30)


def seen(monkeypatch: pytest.MonkeyPatch, library: object, version: str = "2.13.0+cu130"):
    monkeypatch.setitem(sys.modules, "pynvml", library)  # type: ignore[arg-type]
    monkeypatch.setattr(driver.metadata, "version", lambda name: version)
    return driver.devices()


def test_devices_are_described_without_touching_them(monkeypatch):
    first, second = seen(monkeypatch, Library(H200, V100))
    assert first == DeviceInfo(
        id="0", description="NVIDIA H200, sm_90", memory_bytes=141 << 30, unavailable=None
    )
    assert "compute capability 7.0; 8.0 (Ampere) or newer" in second.unavailable


@pytest.mark.parametrize(
    ("library", "version", "words"),
    [
        (None, "2.13.0", "nvidia-ml-py is not installed"),
        (Library(), "2.13.0", "no usable NVIDIA driver here: Driver Not Loaded"),
        (Library(H200, speaks=11040), "2.13.0", "driver 470.57 speaks CUDA 11.4; 12.0 or newer"),
        (Library(H200), "2.13.0+cpu", "torch 2.13.0+cpu is not built for CUDA"),
        (Library(H200), "2.13.0+rocm7", "torch 2.13.0+rocm7 is not built for CUDA"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(monkeypatch, library, version, words):
    (only,) = seen(monkeypatch, library, version)
    assert words in only.unavailable
    with pytest.raises(PlatformError, match="cannot be used"):
        CudaPlatform().open([only])


@pytest.fixture
def two_gpus(monkeypatch):
    """Torch sees the driver's device 1 as its only one."""
    monkeypatch.setattr(driver, "uuid", lambda device: f"GPU-{device}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda at: SimpleNamespace(uuid="1"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda at: (9, 0))


def test_a_device_is_found_by_its_name_for_everybody(two_gpus):
    assert opening.find("1") == (0, "sm_90")
    with pytest.raises(PlatformError, match="cuda:0 is hidden .* by CUDA_VISIBLE_DEVICES"):
        opening.find("0")


def test_torch_that_cannot_use_the_driver_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PlatformError, match="cannot use the driver here; see nvidia-smi"):
        opening.find("0")


@pytest.mark.parametrize(
    ("architecture", "fp8"), [("sm_80", None), ("sm_90", "e4m3fn"), ("emulated", "e4m3fn")]
)
def test_ampere_has_no_8_bit_floats_of_its_own(architecture, fp8):
    assert chip(architecture).fp8 == fp8
    forms = {form.name for form in capabilities(chip(architecture)).cache_forms}
    assert ("fp8" in forms) == (fp8 is not None)
