"""Which chips this machine has, read from the system's list of PCI devices; nothing is opened."""

from __future__ import annotations

import os
from importlib import util
from pathlib import Path

from .chips import Chip, chips

GOOGLE = "0x1ae0"
EMULATED_DEVICES = 8
"""Virtual devices that the host is cut into, so that a mesh can be emulated."""
_PCI = Path("/sys/bus/pci/devices")


def chips_here(folder: Path | None = None) -> list[Chip]:
    """The chips, in the order of their addresses."""
    folder = folder or _PCI
    by_id = {chip.pci: chip for chip in chips().values() if chip.pci}
    found = []
    try:
        addresses = sorted(folder.iterdir())
    except OSError:
        return []
    for address in addresses:
        if _word(address / "vendor") == GOOGLE and (chip := by_id.get(_word(address / "device"))):
            found.append(chip)
    return found


def missing_libtpu() -> str | None:
    """Why the chips' runtime cannot be used, None if it is installed."""
    if util.find_spec("libtpu") is None and not os.environ.get("TPU_LIBRARY_PATH"):
        return "libtpu is not installed; install it with: pip install 'dovetail-tpu[hardware]'"
    return None


def host_memory_bytes() -> int:
    """Memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def host_free_bytes() -> int:
    """What the system would give to a new process without swapping."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
