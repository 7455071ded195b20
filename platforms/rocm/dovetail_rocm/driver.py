"""What the kernel driver says of the machine in sysfs, and what torch was built for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from dovetail.platform import DeviceInfo

NODES = Path("/sys/class/kfd/kfd/topology/nodes")
GATE = Path("/dev/kfd")
ARCHITECTURES = ("gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1201")
TORCH = "install a build of torch for ROCm: https://pytorch.org"


def devices(nodes: Path = NODES, gate: Path = GATE) -> list[DeviceInfo]:
    """All GPUs in the order of the driver, which is HIP's; a single one that cannot be used where there is none."""
    if not nodes.is_dir():
        return [_nothing("there is no AMD GPU driver here (amdgpu with KFD)")]
    found = [
        _device(number, node, properties, gate)
        for number, (node, properties) in enumerate(_gpus(nodes))
    ]
    return found or [_nothing("the AMD driver knows no GPU that computes")]


def architecture(properties: dict[str, int]) -> str:
    """ "gfx942" for gfx_target_version 90402."""
    version = properties.get("gfx_target_version", 0)
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def torch_reason() -> str | None:
    """Why torch cannot be used, from what is installed alone; None if it can."""
    if util.find_spec("torch") is None:
        return f"torch is not installed; {TORCH}"
    version = metadata.version("torch")
    if "+rocm" not in version:
        return f"torch {version} is not built for ROCm; {TORCH}"
    if util.find_spec("triton") is None:
        return "triton is not installed: it comes with torch's build for ROCm"
    return None


def _gpus(nodes: Path) -> Iterator[tuple[Path, dict[str, int]]]:
    """Nodes of the topology that have compute units, by their number."""
    for node in sorted(nodes.iterdir(), key=lambda path: int(path.name)):
        properties = _numbers(node / "properties")
        if properties.get("simd_count", 0):
            yield node, properties


def _device(number: int, node: Path, properties: dict[str, int], gate: Path) -> DeviceInfo:
    chip = architecture(properties)
    name = (_text(node / "name") or "AMD GPU").strip()
    return DeviceInfo(
        id=str(number),
        description=f"{name}, {chip}",
        memory_bytes=_memory(node) or None,
        unavailable=_reason(chip, gate),
    )


def _reason(chip: str, gate: Path) -> str | None:
    if chip not in ARCHITECTURES:
        return f"{chip} is none of {', '.join(ARCHITECTURES)}"
    if not os.access(gate, os.R_OK | os.W_OK):
        return f"{gate} may not be opened; add the user to the group render"
    return torch_reason()


def _memory(node: Path) -> int:
    """Bytes of the device's own memory: heaps of kind 1 and 2."""
    banks = [_numbers(bank / "properties") for bank in (node / "mem_banks").glob("*")]
    return sum(bank.get("size_in_bytes", 0) for bank in banks if bank.get("heap_type") in (1, 2))


def _numbers(path: Path) -> dict[str, int]:
    """Lines `name number`."""
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _text(path: Path) -> str:
    """A file of sysfs, nothing where it may not be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _nothing(reason: str) -> DeviceInfo:
    return DeviceInfo(id="0", description="AMD GPU", unavailable=reason)
