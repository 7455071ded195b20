"""The Triton kernels without a device: their numbers by the interpreter, in a process of its own.

The process is one in which Triton was told to interpret before it was first imported, and an access out of bounds ends
it, not the tests beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton has wheels for Linux on x86-64 alone")

HERE = Path(__file__).parent / "triton"


def run_tests(*files: str) -> None:
    """Run files of the folder under the interpreter; every test in them must pass."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *("-o", "python_files=interpreted_*.py", "--import-mode=importlib"),
            *(str(HERE / file) for file in files),
        ],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]


def test_kernels_compute_what_the_reference_does():
    run_tests(*sorted(path.name for path in HERE.glob("interpreted_*.py")))
