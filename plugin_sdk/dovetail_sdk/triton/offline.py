"""The real compilers, without a device: what a launch becomes on a target, measured.

A launch is written down on meta tensors (launch.recorded), specialised as Triton would at run time, and compiled to the
target's own binary. Nothing is run. See specimens.py for which launches there are.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from .launch import Launch

TARGETS: dict[str, GPUTarget] = {
    **{f"sm_{chip}": GPUTarget("cuda", chip, 32) for chip in (80, 90, 100, 120)},
    **{chip: GPUTarget("hip", chip, 64) for chip in ("gfx90a", "gfx942", "gfx950")},
    **{chip: GPUTarget("hip", chip, 32) for chip in ("gfx1100", "gfx1201")},
}
"""What kernels are compiled for, by the name that tuning tables use."""

MATRIX = re.compile(r"wgmma\.mma_async|mma\.sync|tcgen05\.mma|v_s?mfma_|v_s?wmma_")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a compiler made of a launch.

    registers     of a thread (NVIDIA) or vector registers of a lane (AMD)
    spilled       bytes of stack of a thread; 0 where everything is in registers
    shared_bytes  of a program
    matrix        matrix instructions in the text, each counted once however often it runs
    """

    registers: int
    spilled: int
    shared_bytes: int
    matrix: int


def measure(launch: Launch, architecture: str) -> Measured:
    """Compile a launch for one of TARGETS. Raises what the compiler raises."""
    target = TARGETS[architecture]
    compiled = _compile(launch, target)
    shared = int(compiled.metadata.shared)
    if target.backend == "cuda":
        registers, spilled = _nvidia(compiled.asm["cubin"])
        text = compiled.asm["ptx"]
    else:
        text = compiled.asm["amdgcn"]
        registers, spilled = (
            _field(text, ".vgpr_count"),
            _field(text, ".private_segment_fixed_size"),
        )
    return Measured(registers, spilled, shared, len(MATRIX.findall(text)))


def _compile(launch: Launch, target: GPUTarget) -> Any:
    """As JITFunction.run does it, for a target that is not here."""
    kernel = launch.kernel
    backend = make_backend(target)
    binder = create_function_from_signature(kernel.signature, kernel.params, backend)
    arguments = [_placed(argument) for argument in launch.arguments]
    names = {name: value for name, value in launch.options.items() if _known(name, target)}
    bound, specialization, options = binder(*arguments, **launch.constants, **names)
    parsed, signature, constants, attributes = kernel._pack_args(
        backend, options, bound, specialization, names
    )
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(source, target=target, options=parsed.__dict__)


def _known(option: str, target: GPUTarget) -> bool:
    return target.backend == "hip" or option != "waves_per_eu"


def _placed(argument: Any) -> Any:
    """A meta tensor as one whose memory is aligned as an allocator's is."""
    if isinstance(argument, torch.Tensor):
        assert argument.device.type == "meta", "launches are written down on meta tensors"
    return argument


def _field(text: str, name: str) -> int:
    found = re.search(rf"{re.escape(name)}:\s+(\d+)", text)
    assert found is not None, f"the compiler's text has no {name}"
    return int(found[1])


def _nvidia(binary: bytes) -> tuple[int, int]:
    """Registers and bytes of stack of the kernel in a cubin."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        printed = subprocess.run(
            [tool, "-res-usage", file.name], check=True, capture_output=True, text=True
        ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", printed)
    assert found is not None, f"cuobjdump says nothing of registers: {printed}"
    return int(found[1]), int(found[2])
