"""The OpenCL kernels in small cases under oclgrind, which reports every access out of bounds, data race and misuse of the API.

python ci/opencl_driver.py --install oclgrind
python ci/opencl_races.py
python ci/opencl_races.py --only 'attention|linear'

The cases are those of the conformance suite, once with the kernels of CPUs and once with those of GPUs, and steps with sampling of
every kind. Results are compared too. Before them three kernels with a planted fault each show that the simulator sees such things.
Takes about twenty minutes on one core.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import opencl_driver  # type: ignore[import-not-found]

SMALL = r"^ops/.*(?<!drawn0)(?<!drawn1)(?<!wide)(?<!many_rows)/(f32-f32|f32-int4g32|f16-int8|bf16-bf16|f16-cache-f16|f32|f16)$|^steps/"
"""Checks whose cases the simulator computes in seconds: an op's own cases in a few of its types, and steps with sampling."""
HARMLESS = "clGetDeviceInfo"
"""pyopencl asks for facts that drivers need not know."""
SIMULATE = {"OCLGRIND_DATA_RACES": "1", "OCLGRIND_CHECK_API": "1", "PYOPENCL_NO_CACHE": "1"}
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


def planted() -> None:
    """Issue kernels that are wrong: one reads beyond its buffer, one lacks a barrier, one writes to a number from all items."""
    import numpy as np
    from dovetail_sdk.opencl import Machine, OpenclBackend, Programs, find

    backend = OpenclBackend(machine := Machine(find()[0]), Programs(machine, None))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "planted.cl")
        source.write_text(PLANTED)
        given = backend.upload(np.arange(64, dtype=np.float32))
        for name in re.findall(r"void (\w+)", PLANTED):
            made = backend.upload(np.zeros(64, np.float32))
            backend.programs.function(source, name, "bb")((1,), (8,), given.buffer, made.buffer)
            backend.download(made)


def checked(device: str, only: str) -> bool:
    """Run the suite's small cases on a device; whether all gave what they should."""
    from dovetail_sdk.conformance import Outcome, run
    from dovetail_xpu import XpuPlatform

    def tell(outcome: Outcome) -> None:
        if outcome.status == "failed":
            print(f"FAILED {outcome.check}: {outcome.reason}", flush=True)

    cases = rf"(?=.*(?:{only}))(?:{SMALL})"
    card = run(XpuPlatform(), ids=[device], layers=["ops", "steps"], cases=cases, tell=tell)
    passed = [outcome for outcome in card.outcomes if outcome.status == "passed"]
    count = sum(outcome.cases for outcome in passed)
    print(f"xpu:{device}: {count} cases of {len(passed)} checks ran", flush=True)
    return card.ok and bool(passed)


def reports(log: str, api: str) -> list[str]:
    """What the simulator has found, a report each."""
    found = [part.strip() for part in log.split("\n\n") if part.strip()]
    misuses = [part.strip() for part in re.split(r"(?=Oclgrind - OpenCL runtime error)", api)[1:]]
    return found + [misuse for misuse in misuses if f"Function: {HARMLESS}" not in misuse]


def simulated(arguments: list[str]) -> tuple[int, list[str]]:
    """Run this file under the simulator: its status and what was found."""
    with tempfile.TemporaryDirectory(prefix="dovetail-opencl-") as folder:
        log, api = Path(folder, "reports"), Path(folder, "api")
        variables = {
            **os.environ,
            **SIMULATE,
            **opencl_driver.environment("oclgrind", Path(folder)),
            "OCLGRIND_LOG": str(log),
            "XDG_CACHE_HOME": folder,
        }
        with api.open("w") as errors:
            command = [sys.executable, __file__, *arguments]
            status = subprocess.run(command, env=variables, stderr=errors).returncode
        text = log.read_text() if log.exists() else ""
        said = api.read_text()
        if status:
            print(said[-2000:])
        return status, reports(text, said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="checks in whose names this is found")
    parser.add_argument("--emulated", action="store_true", help="what ci/run adds; it always is")
    parser.add_argument(
        "--run", choices=("planted", "oclgrind", "oclgrind-lanes"), help=argparse.SUPPRESS
    )
    given = parser.parse_args()
    if given.run:
        if given.run == "planted":
            planted()
            return 0
        return 0 if checked(given.run, given.only) else 1
    if reason := opencl_driver.missing("oclgrind"):
        print(f"error: {reason}")
        return 1
    _, found = simulated(["--run", "planted"])
    unseen = [
        name for name in ("beyond", "shared", "together") if not any(name in one for one in found)
    ]
    if unseen:
        print(f"error: the simulator does not report the planted faults {', '.join(unseen)}")
        return 1
    failed = False
    for device in ("oclgrind", "oclgrind-lanes"):
        status, found = simulated(["--run", device, "--only", given.only])
        for report in found[:20]:
            print(report)
        print(f"xpu:{device}: {len(found)} reports")
        failed |= bool(status or found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
