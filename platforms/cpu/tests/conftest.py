"""Makes the helper beside the tests importable, and opens the device once."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dovetail.platform import Device
from dovetail_cpu.platform import CpuPlatform

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def device() -> Iterator[Device]:
    platform = CpuPlatform()
    opened = platform.open(platform.probe())
    yield opened
    opened.close()
