"""The platform without its hardware: what it says of a machine, and the contract on emulated devices."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from dovetail.config import EngineConfig
from dovetail.engine.driven import Driven
from dovetail.engine.load import load_engine
from dovetail.errors import PlatformError
from dovetail.plugins import GROUP, choices, discover
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from dovetail.weights.checkpoint import open_checkpoint
from dovetail_rocm import driver
from dovetail_rocm.platform import RocmPlatform

POINT = EntryPoint("rocm", "dovetail_rocm.platform:RocmPlatform", GROUP)
INTERPRETED = "attention/(grouped|window)/bf16|attention_write/grouped/f16|rope/partial_interleaved/|rms_norm/even"
"""Cases whose kernels are interpreted, others than those of the other platform with these kernels."""


def node(folder: Path, number: int, version: int, simds: int = 304, gib: int = 192) -> None:
    """A node of the driver's topology."""
    bank = folder / str(number) / "mem_banks" / "0"
    bank.mkdir(parents=True)
    (folder / str(number) / "properties").write_text(
        f"cpu_cores_count 0\nsimd_count {simds}\ngfx_target_version {version}\n"
    )
    (folder / str(number) / "name").write_text("aqua\n")
    (bank / "properties").write_text(f"heap_type 1\nsize_in_bytes {gib << 30}\nflags 0\n")


@pytest.fixture
def gate(tmp_path):
    path = tmp_path / "kfd"
    path.touch()
    return path


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    monkeypatch.setattr(driver.metadata, "version", lambda name: "2.13.0+rocm7.0")
    (tmp_path / "nodes").mkdir()
    return tmp_path / "nodes"


def test_devices_are_numbered_as_the_driver_has_them(nodes, gate):
    node(nodes, 0, 0, simds=0)
    node(nodes, 1, 90402)
    node(nodes, 2, 120001, gib=16)
    first, second = driver.devices(nodes, gate)
    assert (first.id, first.description) == ("0", "aqua, gfx942")
    assert (first.memory_bytes, first.unavailable) == (192 << 30, None)
    assert (second.id, second.memory_bytes) == ("1", 16 << 30)


@pytest.mark.parametrize(
    ("version", "chip"),
    [
        (90010, "gfx90a"),
        (90402, "gfx942"),
        (90500, "gfx950"),
        (110000, "gfx1100"),
        (120001, "gfx1201"),
    ],
)
def test_architectures_are_called_as_compilers_call_them(version, chip):
    assert driver.architecture({"gfx_target_version": version}) == chip
    assert chip in driver.ARCHITECTURES


def test_what_is_missing_is_said_in_a_sentence(nodes, gate, tmp_path, monkeypatch):
    (nothing,) = driver.devices(tmp_path / "absent", gate)
    assert "no AMD GPU driver here" in nothing.unavailable
    (nothing,) = driver.devices(nodes, gate)
    assert "knows no GPU that computes" in nothing.unavailable
    node(nodes, 0, 90006)
    (old,) = driver.devices(nodes, gate)
    assert "gfx906 is none of gfx90a" in old.unavailable
    node(nodes, 1, 90402)
    assert (
        "add the user to the group render" in driver.devices(nodes, tmp_path / "no")[1].unavailable
    )
    monkeypatch.setattr(driver.metadata, "version", lambda name: "2.13.0+cu130")
    assert "is not built for ROCm" in driver.devices(nodes, gate)[1].unavailable
    with pytest.raises(PlatformError, match="cannot be used"):
        RocmPlatform().open([old])


def test_emulated_devices_are_taken_only_by_name():
    found = discover([POINT])
    assert all(device.emulated for device in found[0].devices if device.unavailable is None)
    (chosen,) = choices("rocm:host,host1", found)
    assert [device.id for device in chosen.devices] == ["host", "host1"]


SUITE = """
import sys
import torch
from dovetail_rocm.platform import RocmPlatform
from dovetail_sdk.conformance import run
torch.set_num_threads(1)  # of ops this small
device, cases, *layers = sys.argv[1:]
card = run(RocmPlatform(), layers=layers, ids=[device], cases=cases or None)
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
    run("host", "contract", "steps", "programs")


def test_interpreted_kernels_compute_what_the_reference_does():
    run("emulated", "ops", cases=INTERPRETED)


def test_a_mesh_replies_as_one_device_does():
    """The bundled model, through the engine: the same tokens on one and on 4 devices."""
    found, replies = discover([POINT]), []
    for spec in ("rocm:host", "rocm:host,host1,host2,host3"):
        config = EngineConfig(platform=spec, dtype="f32", max_model_len=256, max_num_seqs=2)
        engine = load_engine(config, open_checkpoint("demo"), choices(spec, found))
        try:
            replies.append(reply(engine))
        finally:
            engine.close()
    assert replies[0] == replies[1] and len(replies[0]) > 8
