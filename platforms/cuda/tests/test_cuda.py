"""The platform without its hardware: what it says of a machine, and the contract on emulated devices."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest
from dovetail.config import EngineConfig
from dovetail.engine.driven import Driven
from dovetail.engine.load import load_engine
from dovetail.errors import PlatformError
from dovetail.platform import DeviceInfo
from dovetail.plugins import GROUP, choices, discover
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from dovetail.weights.checkpoint import open_checkpoint
from dovetail_cuda import driver
from dovetail_cuda.platform import CudaPlatform

POINT = EntryPoint("cuda", "dovetail_cuda.platform:CudaPlatform", GROUP)
INTERPRETED = (
    "(attention|attention_write)/(grouped|window|one_token)/(f32|bf16)|"
    "rope/(partial_halves|whole_interleaved)/|(rms_norm|add_rms_norm|layer_norm)/(even|bias)|gated_activation/silu"
)
"""Cases whose kernels are interpreted: each program takes some ten milliseconds."""


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


def test_emulated_devices_are_taken_only_by_name():
    found = discover([POINT])
    assert all(device.emulated for device in found[0].devices if device.unavailable is None)
    (chosen,) = choices("cuda:host,host1", found)
    assert [device.id for device in chosen.devices] == ["host", "host1"]


SUITE = """
import sys
import torch
from dovetail_cuda.platform import CudaPlatform
from dovetail_sdk.conformance import run
torch.set_num_threads(1)  # of ops this small
device, cases, *layers = sys.argv[1:]
card = run(CudaPlatform(), layers=layers, ids=[device], cases=cases or None)
print(card.text())
sys.exit(not card.ok or not card.emulated or not card.outcomes)
"""


def run(device: str, *layers: str, cases: str = "") -> None:
    """In a process of its own: whether Triton interprets is settled once per process."""
    command = [sys.executable, "-c", SUITE, device, cases, *layers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def reply(engine: Driven) -> list[int]:
    """Greedy tokens for a prompt."""
    prompt = np.random.default_rng(5).integers(300, 1500, 20).tolist()
    sampling = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True)
    engine.submit(Request(id="one", prompt=prompt, sampling=sampling, max_tokens=12))
    tokens: list[int] = []
    while len(tokens) < 12:
        for output in engine.step():
            tokens += output.tokens
    return tokens


def test_the_contract_holds_with_torch_in_the_place_of_the_chip():
    run("host", "contract", "cache", "steps", "programs", "models")


def test_interpreted_kernels_compute_what_the_reference_does():
    run("emulated", "ops", cases=INTERPRETED)


def test_a_mesh_replies_as_one_device_does():
    """The bundled model, through the engine: the same tokens on one and on 2 devices."""
    found, replies = discover([POINT]), []
    for spec in ("cuda:host", "cuda:host,host1"):
        config = EngineConfig(platform=spec, dtype="f32", max_model_len=256, max_num_seqs=2)
        engine = load_engine(config, open_checkpoint("demo"), choices(spec, found))
        try:
            replies.append(reply(engine))
        finally:
            engine.close()
    assert replies[0] == replies[1] and len(replies[0]) > 8
