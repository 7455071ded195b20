"""The script that measures GPUs runs to its end where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "ci" / "bench" / "gpu.py"


def test_every_part_of_the_gpu_script_runs_at_tiny_shapes(tmp_path):
    if not [point for point in entry_points(group="dovetail.platforms") if point.name == "cuda"]:
        pytest.skip("the platform cuda is not installed")
    out = tmp_path / "gpu.json"
    folders = ["--folder", str(tmp_path / "checkpoints"), "--out", str(out)]
    without = [
        "--leave-out",
        "transformers batched",
    ]  # which takes a host's memory apart for half a minute
    command = [sys.executable, str(SCRIPT), "--platform", "cuda:host", "--tiny", *folders, *without]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(out.read_text())
    assert json.loads(done.stdout) == report
    failed = {name: part for name, part in report.items() if "failed" in str(part)}
    assert not failed
    assert {"ceilings", "kernels", "tiny bf16: decode", "tiny bf16: prefill", "tiny: ours"} <= set(
        report
    )
    assert all(part["of_copy"] > 0 for part in report["tiny bf16: decode"])
    assert report["tiny: ours"]["output_tokens_per_s"] > 0
