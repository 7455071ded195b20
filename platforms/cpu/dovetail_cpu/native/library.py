"""The kernel library, where it was built and this processor can run it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

from . import build
from .bindings import open_library


@dataclass(frozen=True, slots=True)
class Library:
    """handle is the loaded library; kernels the names of what this processor can run, best first."""

    handle: ctypes.CDLL
    kernels: tuple[str, ...]


@cache
def find() -> Library | str:
    """The library, or why there is none."""
    if not build.LIBRARY.exists():
        return "the kernel library was not built; it needs a C++ compiler when dovetail-cpu is installed"
    try:
        handle = open_library(build.LIBRARY)
    except (OSError, AttributeError) as error:
        return f"the kernel library cannot be loaded: {error}"
    if handle.dovetail_sources().decode() != build.digest():
        return "the kernel library was built from other sources; run python -m dovetail_cpu.native.build"
    if not (usable := usable_kernels(handle)):
        return "this processor has no AVX-512 with VNNI, which the kernels need"
    return Library(handle, usable)


def usable_kernels(handle: ctypes.CDLL) -> tuple[str, ...]:
    """Names of the kernels in a library that this processor can run, best first."""
    names = []
    index = 0
    while (name := handle.dovetail_kernels(index)) is not None:
        names.append(name.decode())
        index += 1
    return tuple(name for name in names if name)
