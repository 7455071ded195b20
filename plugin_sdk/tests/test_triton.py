"""The Triton kernels without a device: their numbers by the interpreter, and what the real compilers make of a few.

The interpreter's process is one in which Triton was told to interpret before it was first imported, and an access out of bounds ends
it, not the tests beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton has wheels for Linux on x86-64 alone")

ROOT = Path(__file__).resolve().parents[2]
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


def test_kernels_compile_within_their_budgets_where_nothing_may_spill(tmp_path):
    """The kernels that a model spends its time in; the matrix's job gpu-kernels has all, for every target."""
    done = subprocess.run(
        [
            *(sys.executable, ROOT / "ci/gpu_kernels.py", "sm_90", "gfx942"),
            *("--only", "tokens?, 32 heads|int[48], (1|256) token"),
        ],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "kernels compiled for 2 targets" in done.stdout
