"""Every set of kernels of the library: those that this processor runs, and AMX's with its registers emulated elsewhere."""

import tempfile
from functools import cache
from pathlib import Path

from dovetail_cpu.native import library
from dovetail_cpu.native.bindings import open_library
from dovetail_cpu.native.build import build
from dovetail_cpu.native.engine import Engine
from dovetail_cpu.native.library import Library, usable_kernels

FOUND = library.find()
EMULATED = "amx, emulated"


def named() -> tuple[str, ...]:
    """What tests run over; nothing where there is no library."""
    if not isinstance(FOUND, Library):
        return ()
    played = "avx512_bf16" in FOUND.kernels and "amx" not in FOUND.kernels
    return (*FOUND.kernels, EMULATED) if played else FOUND.kernels


@cache
def _emulated() -> Library:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "library.so"
        reason = build(path, emulated_tiles=True)
        assert reason is None, reason
        handle = open_library(path)
    return Library(handle, usable_kernels(handle))


def engine(kernels: str, steps, num_layers: int = 0, **settings) -> Engine:
    """Steps made ready to run by one set of kernels."""
    found = _emulated() if kernels == EMULATED else FOUND
    assert isinstance(found, Library)
    return Engine(found, steps, num_layers, threads=2, kernels=kernels.split(",")[0], **settings)
