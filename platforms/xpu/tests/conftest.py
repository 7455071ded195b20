"""PoCL's device, opened once; tests that need it are skipped, with the reason, where the driver is not installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dovetail.errors import PlatformBroken
from dovetail.platform import Device
from dovetail_sdk.opencl import Found, find
from dovetail_xpu.platform import XpuPlatform


def pocl_or_reason() -> Found | str:
    try:
        found = next((found for found in find() if found.id == "pocl"), None)
    except PlatformBroken as error:
        return str(error)
    return found or "the OpenCL driver PoCL is not installed: apt-get install pocl-opencl-icd"


@pytest.fixture(scope="session")
def pocl() -> Found:
    found = pocl_or_reason()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def device(pocl: Found) -> Iterator[Device]:
    platform = XpuPlatform()
    opened = platform.open([info for info in platform.probe() if info.id == pocl.id])
    yield opened
    opened.close()
