"""Compile every Triton kernel for every GPU target, without one, and hold the result to ci/gpu_kernels.toml.

    python ci/gpu_kernels.py                     all targets
    python ci/gpu_kernels.py sm_90 gfx942        some
    python ci/gpu_kernels.py --only 'int[48]'    kernels whose name has a match of the expression
    python ci/gpu_kernels.py --write             record what the compilers make of them now

A kernel fails when it spills (or spills more than recorded), takes over a tenth more registers or more shared memory
than recorded, or has lost its matrix instructions. On NO_SPILLS nothing may spill, recorded or not.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import tomllib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

BUDGETS = Path(__file__).with_suffix(".toml")
NO_SPILLS = ("sm_90", "gfx942")
MORE_REGISTERS = 1.1

Measures = dict[str, dict[str, int]]


def measured(architecture: str, only: str) -> Measures:
    """What the compiler of a target makes of each kernel."""
    from dovetail_sdk.triton.offline import measure
    from dovetail_sdk.triton.specimens import specimens

    return {
        name: asdict(measure(launch, architecture))
        for name, launch in specimens(architecture)
        if re.search(only, name)
    }


def faults(architecture: str, found: Measures, recorded: Measures, whole: bool) -> list[str]:
    """Where kernels are worse than recorded, a line each."""
    lines = []
    for name, now in found.items():
        at = f"{architecture} {name}"
        budget = recorded.get(name)
        if now["spilled"] and architecture in NO_SPILLS:
            lines.append(f"{at}: spills {now['spilled']} bytes")
        if budget is None:
            lines.append(f"{at}: nothing is recorded; see --write")
            continue
        if now["spilled"] > budget["spilled"]:
            lines.append(f"{at}: spills {now['spilled']} bytes; {budget['spilled']} are recorded")
        if now["registers"] > MORE_REGISTERS * budget["registers"]:
            lines.append(f"{at}: {now['registers']} registers; {budget['registers']} are recorded")
        if now["shared_bytes"] > budget["shared_bytes"]:
            lines.append(
                f"{at}: {now['shared_bytes']} bytes are shared; {budget['shared_bytes']} are recorded"
            )
        if budget["matrix"] and not now["matrix"]:
            lines.append(f"{at}: its matrix instructions are gone")
    if whole:
        lines += [
            f"{architecture} {name}: recorded and not compiled; see --write"
            for name in recorded
            if name not in found
        ]
    return lines


def written(version: str, all_found: dict[str, Measures]) -> str:
    """The file of records."""
    lines = [
        "# What the compilers make of each Triton kernel in its default tuning, by target: ci/gpu_kernels.py --write.",
        "# registers of a thread or lane, bytes spilled to memory, bytes shared by a program, matrix instructions.",
        f'triton = "{version}"',
    ]
    for architecture, found in all_found.items():
        lines += ["", f"[{architecture}]"]
        for name, now in found.items():
            fields = ", ".join(f"{field} = {value}" for field, value in now.items())
            lines.append(f'"{name}" = {{ {fields} }}')
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    import triton
    from dovetail_sdk.triton.offline import TARGETS

    if unknown := sorted(set(options.targets) - set(TARGETS)):
        parser.error(f"unknown targets {', '.join(unknown)}; known are {', '.join(TARGETS)}")
    records: dict[str, Any] = tomllib.loads(BUDGETS.read_text()) if BUDGETS.exists() else {}
    if not options.write and records.get("triton") != triton.__version__:
        parser.error(
            f"triton {triton.__version__} is installed; {BUDGETS.name} was recorded with "
            f"{records.get('triton')}, whose compilers it is about"
        )
    targets = options.targets or list(TARGETS)
    start = time.monotonic()
    with ProcessPoolExecutor(max_workers=min(len(targets), os.cpu_count() or 1)) as pool:
        results = dict(
            zip(targets, pool.map(measured, targets, [options.only] * len(targets)), strict=True)
        )
    if options.write:
        kept = {name: records.get(name, {}) | results.get(name, {}) for name in TARGETS}
        if not options.only:
            kept |= results
        BUDGETS.write_text(written(triton.__version__, kept))
    lines = [
        line
        for architecture, found in results.items()
        for line in faults(
            architecture,
            found,
            found if options.write else records.get(architecture, {}),
            whole=not options.only,
        )
    ]
    print("\n".join(lines), end="\n" if lines else "")
    count = sum(len(found) for found in results.values())
    print(
        f"{count} kernels compiled for {len(targets)} targets in {time.monotonic() - start:.0f} s, "
        f"{len(lines)} faults"
    )
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
