"""The OpenCL kernels in small cases under oclgrind, which reports every access out of bounds, data race and misuse of the API.

python ci/opencl_driver.py --install oclgrind
python ci/opencl_races.py
python ci/opencl_races.py --only 'attention|linear' --form gpu

The cases are those of the conformance suite, and steps with sampling of every kind: once with the kernels of CPUs, once with
those of GPUs, and once products by the matrix unit (opencl_simulated.py says how). Results are compared too. A kernel that no case
launches fails the job. Before them three kernels with a planted fault each show that the simulator sees such things.

It tells of every check as it ends. All of it is 4,983 cases and takes about forty minutes on one core, of which the kernels of
GPUs take more than half and the matrix unit one minute; what --only leaves is quicker, and does not ask for every kernel.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import opencl_driver  # type: ignore[import-not-found]
from opencl_simulated import (  # type: ignore[import-not-found]
    FORMS,
    PLANTED,
    checked,
    named,
    number,
    planted,
    reports,
)

HARMLESS = "clGetDeviceInfo"
"""pyopencl asks for facts that drivers need not know."""
SIMULATE = {"OCLGRIND_DATA_RACES": "1", "OCLGRIND_CHECK_API": "1", "PYOPENCL_NO_CACHE": "1"}


def misuses(said: str) -> list[str]:
    """Of the API, a report each."""
    found = [part.strip() for part in re.split(r"(?=Oclgrind - OpenCL runtime error)", said)[1:]]
    return [misuse for misuse in found if f"Function: {HARMLESS}" not in misuse]


def simulated(arguments: list[str]) -> tuple[int, list[str], list[str]]:
    """Run this file under the simulator: its status, what was found in kernels, and misuses of the API."""
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
        said = api.read_text()
        if "Traceback" in said:
            print(said[said.index("Traceback") :])
        return status, reports(log), misuses(said)


def children_seconds() -> float:
    """Processor time of the processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="checks in whose names this is found")
    parser.add_argument("--form", choices=FORMS, help="kernels cut in this way alone")
    parser.add_argument("--emulated", action="store_true", help="what ci/run adds; it always is")
    parser.add_argument("--run", choices=("planted", *FORMS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run == "planted":
        planted()
        return 0
    if given.run:
        return 0 if checked(given.run, given.only) else 1
    if reason := opencl_driver.missing("oclgrind"):
        print(f"error: {reason}")
        return 1
    asked = [given.form] if given.form else list(FORMS)
    forms = [form for form in asked if number(form, given.only)]
    if not forms:
        print(f"error: no check of {', '.join(asked)} has {given.only!r} in its name")
        return 1
    _, found, _ = simulated(["--run", "planted"])
    if unseen := [name for name in named(PLANTED) if not any(name in report for report in found)]:
        print(f"error: the simulator does not report the planted faults {', '.join(unseen)}")
        return 1
    failed = False
    for form in forms:
        started, computed = time.monotonic(), children_seconds()
        status, found, misused = simulated(["--run", form, "--only", given.only])
        for misuse in misused[:20]:
            print(misuse)
        seconds, computed = time.monotonic() - started, children_seconds() - computed
        print(
            f"{form}: {len(found)} reports, {len(misused)} misuses of the API; {seconds:.0f} s, "
            f"{computed:.0f} s of processor time"
        )
        failed |= bool(status or found or misused)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
