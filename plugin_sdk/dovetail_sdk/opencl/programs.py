"""OpenCL C made into functions to call: built once per process, kept on disk between processes."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from dovetail.errors import PlatformBroken

from dovetail_sdk.compiled import CompiledCache

from .array import Array
from .machine import Machine

log = logging.getLogger("dovetail.opencl")

SOURCE = Path(__file__).parent / "source"
_SCALARS = {"i": np.int32, "f": np.float32}
Macro = int | str | bool


class Function:
    """A kernel of a built program.

    signature  a letter per argument: b buffer, i int, f float, l bytes of local memory
    """

    __slots__ = ("_kernel", "_locals", "_machine", "_name")

    def __init__(self, machine: Machine, program: Any, name: str, signature: str) -> None:
        cl = machine.cl
        kernel = cl.Kernel(program, name)
        kernel.set_scalar_arg_dtypes([_SCALARS.get(letter) for letter in signature])
        self._machine, self._kernel, self._name = machine, kernel, name
        self._locals = tuple(at for at, letter in enumerate(signature) if letter == "l")

    def __call__(self, groups: tuple[int, ...], local: tuple[int, ...], *arguments: Any) -> None:
        """Issue it for so many groups of `local` items; nothing where an axis has none."""
        if 0 in groups:
            return
        machine = self._machine
        if self._locals:
            given = list(arguments)
            for at in self._locals:
                given[at] = machine.cl.LocalMemory(given[at])
            arguments = tuple(given)
        size = tuple(count * width for count, width in zip(groups, local, strict=True))
        event = machine.issued(self._kernel(machine.queue, size, local, *arguments))
        if machine.profiling:
            machine.timed(self._name, event)


class Programs:
    """Functions by file, name and macros.

    folder  where built programs are kept; None keeps none
    """

    def __init__(self, machine: Machine, folder: Path | None) -> None:
        self._machine = machine
        self._cache = CompiledCache(folder) if folder else None
        self._built: dict[tuple[Path, str], Any] = {}
        self._functions: dict[tuple[Any, ...], Function] = {}
        handle = machine.found.handle
        self._compiler = f"{handle.platform.name} {handle.platform.version}"
        self._device = f"{handle.name} {handle.vendor_id} {handle.driver_version}"

    def function(self, path: Path, name: str, signature: str, **macros: Macro) -> Function:
        """A function, built at the first call with these macros. Raises PlatformBroken."""
        key = (path, name, *macros.items())
        found = self._functions.get(key)
        if found is None:
            program = self._program(path, options(macros))
            found = self._functions[key] = Function(self._machine, program, name, signature)
        return found

    def _program(self, path: Path, given: tuple[str, ...]) -> Any:
        key = (path, " ".join(given))
        if key not in self._built:
            self._built[key] = self._made(path, text_of(path), given)
        return self._built[key]

    def _made(self, path: Path, text: str, given: tuple[str, ...]) -> Any:
        """Built from what is kept on disk, else from source."""
        compiled: list[Any] = []

        def compile_source(source: str, wanted: Sequence[str]) -> bytes:
            compiled.append(self._from_source(path, source, wanted))
            return self._binary(compiled[0])

        if self._cache is None:
            return self._from_source(path, text, given)
        binary = self._cache.get(
            compile_source, text, options=given, compiler=self._compiler, device=self._device
        )
        if compiled:
            return compiled[0]
        cl, handle = self._machine.cl, self._machine.found.handle
        try:
            return cl.Program(self._machine.context, [handle], [binary]).build(list(given))
        except cl.Error as error:
            log.warning("program=%s kept binary refused reason=%r", path.name, str(error)[:200])
            return self._from_source(path, text, given)

    def _from_source(self, path: Path, text: str, given: Sequence[str]) -> Any:
        cl = self._machine.cl
        try:
            return cl.Program(self._machine.context, text).build(list(given))
        except cl.Error as error:
            raise build_failure(path, given, self._machine.found.description, str(error)) from None

    def _binary(self, program: Any) -> bytes:
        cl = self._machine.cl
        binaries: list[bytes] = program.get_info(cl.program_info.BINARIES)
        return binaries[0]


def options(macros: dict[str, Macro]) -> tuple[str, ...]:
    """What the compiler is given: a macro that is False is not defined."""
    defined = [
        f"-D{name}={int(value) if isinstance(value, bool) else value}"
        for name, value in macros.items()
        if value is not False
    ]
    return ("-cl-std=CL1.2" if not macros.get("SUBGROUP") else "-cl-std=CL3.0", *defined)


@cache
def text_of(path: Path) -> str:
    """The source of a program: the storage types, then the file."""
    return "\n".join(part.read_text(encoding="utf-8") for part in (SOURCE / "values.h", path))


def build_failure(
    path: Path, given: Sequence[str], device: str, compiler_log: str
) -> PlatformBroken:
    """One sentence, with the compiler's log in a file beside it."""
    handle, name = tempfile.mkstemp(prefix="dovetail-opencl-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{path.name} {' '.join(given)}\n{device}\n\n{compiler_log}\n")
    lines = [line.strip() for line in compiler_log.splitlines()]
    first = next((line for line in lines if "error" in line.lower()), "no error in its log")
    return PlatformBroken(
        f"{path.name} does not build on {device}: {first[:200]}; the compiler's log is {name}"
    )


def cache_folder() -> Path:
    """Where programs of this user are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dovetail" / "opencl"


def buffers(*arrays: Array) -> list[Any]:
    """Buffer, start and step of each: how every kernel here takes a value that may be a view."""
    return [part for array in arrays for part in (array.buffer, array.at, array.step)]
