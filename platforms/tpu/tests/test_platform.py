"""Who is here, what is promised, and what is refused before anything runs."""

import subprocess
import sys

import pytest
from dovetail.errors import PlatformError
from dovetail_tpu import platform, probe
from dovetail_tpu.chips import chip_of, chips
from dovetail_tpu.platform import EMULATED_DEVICES, TpuPlatform


def test_probing_imports_no_framework():
    code = (
        "import sys; from dovetail_tpu.platform import TpuPlatform; "
        "print(TpuPlatform().probe()[0].unavailable, 'jax' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["None", "False"]


def test_chips_are_read_from_the_list_of_pci_devices(tmp_path):
    for address, vendor, device in (
        ("0000:00:05.0", "0x1ae0", "0x0063"),
        ("0000:00:04.0", "0x1ae0", "0x006f"),
        ("0000:00:03.0", "0x8086", "0x0063"),
        ("0000:00:06.0", "0x1ae0", "0xffff"),
    ):
        (tmp_path / address).mkdir()
        (tmp_path / address / "vendor").write_text(vendor + "\n")
        (tmp_path / address / "device").write_text(device + "\n")
    assert [chip.name for chip in probe.chips_here(tmp_path)] == ["v6e", "v5e"]
    assert probe.chips_here(tmp_path / "none") == []


def test_the_host_is_many_emulated_devices():
    emulated = [info for info in TpuPlatform().probe() if info.emulated]
    assert len(emulated) == EMULATED_DEVICES and emulated[0].id == "cpu"


def test_another_release_of_jax_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr(platform.metadata, "version", lambda name: "0.4.30")
    reason = TpuPlatform().probe()[-1].unavailable
    assert reason is not None and "0.4.30" in reason and "pip install" in reason
    with pytest.raises(PlatformError, match=r"0\.4\.30"):
        TpuPlatform().open(TpuPlatform().probe()[-1:])


def test_a_chip_that_is_not_known_is_refused_by_name():
    assert chip_of("TPU v6 lite") is chips()["v6e"]
    with pytest.raises(PlatformError, match="v99"):
        chip_of("TPU v99")
