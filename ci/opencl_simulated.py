"""What ci/opencl_races.py runs under the simulator: the suite's small cases, with every launch counted, and planted faults.

A form is a way to cut the kernels: "cpu" and "gpu" as for such devices, and "unit", in which products go to the matrix unit. The
simulator has neither a unit nor sub-groups: there a group is one sub-group, and hands its numbers round in local memory. Sums of
norms by sub-groups are not simulated. Contexts are cut into stretches from 32 tokens on, since those of the suite are short.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dovetail_xpu.kernels
import numpy as np
from dovetail.platform import Device, DeviceInfo
from dovetail_sdk.conformance import Outcome, checks, run
from dovetail_sdk.opencl import SOURCE, Machine, OpenclBackend, OpenclDevice, Programs, find
from dovetail_xpu import XpuPlatform
from dovetail_xpu.kernels import kernels
from dovetail_xpu.platform import capabilities
from dovetail_xpu.select import choose, taken_for_gpu

SMALL = r"(?<!drawn0)(?<!drawn1)(?<!wide)(?<!many_rows)/"
"""Ends the names of an op's checks whose cases the simulator computes in seconds."""
OPS = rf"^ops/.*{SMALL}(f32-f32|f32-int4g32|f16-int8|bf16-bf16|f16-cache-f16|f32|f16)$"
UNIT = rf"^ops/linear/.*{SMALL}bf16-(bf16|int8|int4g32)$"
"""Products that go to the matrix unit; the simulator has no half arithmetic."""
LAYERS = ("ops", "steps")
FORMS = {"cpu": f"{OPS}|^steps/", "gpu": f"{OPS}|^steps/", "unit": UNIT}
"""Checks of each: an op's in a few of its types, and steps with sampling."""
MOST = 5
"""Reports of a check that are printed."""
MATRIX = "linear_matrix.cl"
PLAYED = """
#define get_sub_group_local_id() ((int)get_local_id(0))
#define get_sub_group_id() 0
#define linear_matrix(...) linear_matrix(__VA_ARGS__, __local short *exchange)
#define intel_sub_group_bf16_bf16_matrix_mad_k16(a, b, sum) handed_round(a, b, sum, exchange)
float8 handed_round(short8 a, int8 b, float8 sum, __local short *exchange) {
  ushort16 weights = as_ushort16(b);
  ushort some[16];
  vstore16(weights, 0, some);
  vstore8(a, get_local_id(0), exchange);
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int k = 0; k < 16; k++)
    sum += as_float8(convert_uint8(as_ushort8(vload8(k, exchange))) << 16) * as_float((uint)some[k] << 16);
  barrier(CLK_LOCAL_MEM_FENCE);
  return sum;
}
"""
PLANTED = """
__kernel void beyond(__global const float *x, __global float *y) {
  y[get_global_id(0)] = x[get_global_id(0) + 4096];
}
__kernel void shared(__global const float *x, __global float *y) {
  __local float line[8];
  int l = get_local_id(0);
  line[l] = x[l];
  y[l] = line[(l + 1) % 8];
}
__kernel void together(__global const float *x, __global float *y) { y[0] = x[get_global_id(0)]; }
"""


def reports(log: Path) -> list[str]:
    """What the simulator has found, a report each."""
    text = log.read_text() if log.exists() else ""
    return [part.strip() for part in text.split("\n\n") if part.strip()]


def named(text: str) -> list[str]:
    """The kernels of a source."""
    return re.findall(r"__kernel\b[^{;]*?\bvoid\s+(\w+)\s*\(", text)


def wanted(form: str) -> set[tuple[str, str]]:
    """(file, kernel) of all that a form must launch."""
    folders = (SOURCE, Path(dovetail_xpu.kernels.__file__).parent)
    files = [file for folder in folders for file in folder.glob("*.cl")]
    mine = [file for file in files if (file.name == MATRIX) == (form == "unit")]
    return {(file.name, name) for file in mine for name in named(file.read_text())}


class Counted(Programs):
    """Programs of which every launch is counted, by file, kernel and macros."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        super().__init__(machine, None)
        self._folder = folder
        self.launches: Counter[tuple[str, str, str]] = Counter()

    def function(self, path: Path, name: str, signature: str, **macros: Any) -> Any:
        more: tuple[int, ...] = ()
        if path.name == MATRIX:
            played = self._folder / MATRIX
            played.write_text(PLAYED + path.read_text())
            path, signature, more = played, signature + "l", (2 * 8 * 16,)
        found = super().function(path, name, signature, **macros)
        key = (path.name, name, str(macros))

        def launch(groups: tuple[int, ...], local: tuple[int, ...], *arguments: Any) -> None:
            self.launches[key] += 0 not in groups
            found(groups, local, *arguments, *more)

        return launch


class Simulated(XpuPlatform):
    """The simulator as a device, with kernels of one form."""

    def __init__(self, form: str, folder: Path) -> None:
        self._form, self._folder = form, folder
        self.opened: list[Counted] = []

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        found = find()[0] if self._form == "cpu" else taken_for_gpu(find()[0])
        machine = Machine(found)
        variant = replace(choose(found, machine.units), units=16, stretch=32)
        if self._form == "unit":
            variant = replace(variant, matrix=True, linear_group=16)
        programs = Counted(machine, self._folder)
        self.opened.append(programs)
        backend = OpenclBackend(machine, programs)
        return OpenclDevice(backend, kernels(backend, variant), capabilities(found))

    def launched(self) -> set[tuple[str, str, str]]:
        """(file, kernel, macros) of all that ran."""
        return {
            key for programs in self.opened for key, count in programs.launches.items() if count
        }


class Progress:
    """Tells of every check as it ends, with what the simulator has reported of it."""

    def __init__(self, of: int) -> None:
        self._of, self._log = of, Path(os.environ["OCLGRIND_LOG"])
        self._number = self._told = 0

    def tell(self, outcome: Outcome) -> None:
        self._number += 1
        what = f"{outcome.cases} cases" if outcome.status == "passed" else outcome.status
        reason = f": {outcome.reason}" * bool(outcome.reason)
        place = f"{self._number}/{self._of}"
        print(f"{place:>8} {outcome.seconds:6.1f} s  {outcome.check}  {what}{reason}", flush=True)
        found = reports(self._log)
        for report in found[self._told : self._told + MOST]:
            print(report, flush=True)
        if (more := len(found) - self._told - MOST) > 0:
            print(f"and {more} more reports of {outcome.check}", flush=True)
        self._told = len(found)


def pattern(form: str, only: str) -> str:
    """What the names of a form's checks match."""
    return rf"(?=.*(?:{only}))(?:{FORMS[form]})"


def number(form: str, only: str) -> int:
    """Of a form's checks."""
    names = re.compile(pattern(form, only))
    return sum(bool(names.search(str(check))) for check in checks(LAYERS))


def checked(form: str, only: str) -> bool:
    """Run a form's small cases; whether all gave what they should and, unless only some were asked for, every kernel ran."""
    progress = Progress(number(form, only))
    ids = ["oclgrind" if form == "cpu" else "oclgrind-lanes"]
    with tempfile.TemporaryDirectory() as folder:
        platform, names = Simulated(form, Path(folder)), pattern(form, only)
        card = run(platform, ids=ids, layers=LAYERS, cases=names, tell=progress.tell)
    passed = [outcome for outcome in card.outcomes if outcome.status == "passed"]
    launched = platform.launched()
    ran, all_kernels = {(file, name) for file, name, _ in launched}, wanted(form)
    print(
        f"{form}: {sum(outcome.cases for outcome in passed)} cases of {len(passed)} checks ran; "
        f"{len(ran & all_kernels)} of {len(all_kernels)} kernels in {len(launched)} variants",
        flush=True,
    )
    missing = [] if only else sorted(all_kernels - ran)
    for file, name in missing:
        print(f"{form}: no case launched {name} of {file}", flush=True)
    return card.ok and bool(passed) and not missing


def planted() -> None:
    """Issue kernels that are wrong: one reads beyond its buffer, one lacks a barrier, one writes to a number from all items."""
    backend = OpenclBackend(machine := Machine(find()[0]), Programs(machine, None))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "planted.cl")
        source.write_text(PLANTED)
        given = backend.upload(np.arange(64, dtype=np.float32))
        for name in named(PLANTED):
            made = backend.upload(np.zeros(64, np.float32))
            backend.programs.function(source, name, "bb")((1,), (8,), given.buffer, made.buffer)
            backend.download(made)
