"""What the platform says of a machine, and which of torch's devices it opens; the rest is in plugin_sdk/tests/test_gpus.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from dovetail.errors import PlatformError
from dovetail_rocm import driver
from dovetail_rocm import open as opening
from dovetail_rocm.platform import RocmPlatform
from dovetail_rocm.select import chip
from dovetail_sdk.gpu.choosing import capabilities


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


@pytest.mark.parametrize(
    ("found", "architecture", "words"),
    [
        ("gfx942:sramecc+:xnack-", "gfx942", None),
        ("gfx906:sramecc+:xnack-", None, "rocm:0 is gfx906, none of gfx90a"),
    ],
)
def test_a_device_is_what_torch_says_it_is(monkeypatch, found, architecture, words):
    properties = SimpleNamespace(gcnArchName=found)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda at: properties)
    if words is None:
        assert opening.find("0") == (0, architecture)
    else:
        with pytest.raises(PlatformError, match=words):
            opening.find("0")
    with pytest.raises(PlatformError, match="does not see rocm:1; HIP_VISIBLE_DEVICES"):
        opening.find("1")


@pytest.mark.parametrize(
    ("architecture", "fp8"),
    [
        ("gfx90a", None),
        ("gfx942", "e4m3fnuz"),
        ("gfx950", "e4m3fn"),
        ("gfx1100", None),
        ("gfx1201", "e4m3fn"),
        ("emulated", "e4m3fnuz"),
    ],
)
def test_every_chip_has_8_bit_floats_of_its_own_kind(architecture, fp8):
    assert chip(architecture).fp8 == fp8
    forms = {form.name for form in capabilities(chip(architecture)).cache_forms}
    assert ("fp8" in forms) == (fp8 is not None)
