"""Compiling the kernel library, at installation or by hand:  python -m dovetail_cpu.native.build

Needs g++ 11 or later (or clang++ 14) for x86-64; nothing else. Imports nothing of the package, so that an installer can
run it as a file.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

SOURCES = Path(__file__).parent / "source"
LIBRARY = Path(__file__).parent / "libdovetail_cpu.so"

_COMMON = (
    "-std=c++20",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-exceptions",
    "-fno-rtti",
    "-w",
)
_AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni", "-mfma")
_AMX = ("-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16", "-DDOVETAIL_AMX")
_UNITS = {
    "amx": ("isa.cpp", (*_AVX512, *_AMX, "-DDOVETAIL_ISA=amx")),
    "avx512_bf16": ("isa.cpp", (*_AVX512, "-mavx512bf16", "-DDOVETAIL_ISA=avx512_bf16")),
    "avx512": ("isa.cpp", (*_AVX512, "-DDOVETAIL_ISA=avx512")),
    "pool": ("pool.cpp", ()),
    "program": ("program.cpp", ()),
    "library": ("library.cpp", ()),
}
_TILES = ("-mavx512bf16", "-DDOVETAIL_AMX", "-include", str(SOURCES / "emulated_tiles.h"))
_EMULATED = {
    **_UNITS,
    "amx": ("isa.cpp", (*_AVX512, *_TILES, "-DDOVETAIL_ISA=amx")),
    "library": ("library.cpp", ("-DDOVETAIL_EMULATED_TILES",)),
}


def digest() -> str:
    """Of all sources: a library built from others is not used."""
    total = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def compiler() -> str | None:
    """The C++ compiler to use ($CXX first), None if there is none."""
    named = os.environ.get("CXX")
    names = (named,) if named else ("g++", "c++", "clang++")
    return next((found for name in names if (found := shutil.which(name))), None)


def build(target: Path = LIBRARY, *, emulated_tiles: bool = False) -> str | None:
    """Compile the library; returns why that cannot be, None if it was.

    emulated_tiles  with AMX's registers played by plain C++: slow, for tests where the processor has none
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or sys.platform != "linux":
        return (
            f"the kernels are written for x86-64 Linux, not for {platform.machine()} {sys.platform}"
        )
    found = compiler()
    if found is None:
        return "no C++ compiler was found; install g++ and install dovetail-cpu again"
    with tempfile.TemporaryDirectory() as directory:
        return _compile(found, Path(directory), target, _EMULATED if emulated_tiles else _UNITS)


def _compile(
    compiler: str, directory: Path, target: Path, units: Mapping[str, tuple[str, tuple[str, ...]]]
) -> str | None:
    defined = f'-DDOVETAIL_SOURCES="{digest()}"'
    running = []
    for name, (source, flags) in units.items():
        words = [compiler, *_COMMON, *flags, defined, "-c", str(SOURCES / source)]
        words += ["-o", str(directory / f"{name}.o")]
        running.append(subprocess.Popen(words, stderr=subprocess.PIPE, text=True))
    failures = [(process, process.communicate()[1]) for process in running]
    for process, text in failures:
        if process.returncode:
            return _failed(text)
    made = directory / target.name
    words = [compiler, "-shared", "-o", str(made), *(str(directory / f"{n}.o") for n in units)]
    words += ["-lpthread", "-static-libgcc"]
    linked = subprocess.run(words, stderr=subprocess.PIPE, text=True)
    if linked.returncode:
        return _failed(linked.stderr)
    staged = target.with_suffix(f".{os.getpid()}")
    shutil.copyfile(made, staged)
    staged.replace(target)  # a process that has the old one loaded keeps it
    return None


def _failed(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line] or text.splitlines() or ["?"]
    return f"the C++ compiler refuses the kernels: {lines[0].strip()}"


if __name__ == "__main__":
    if reason := build():
        raise SystemExit(reason)
    sys.stdout.write(f"{LIBRARY}\n")
