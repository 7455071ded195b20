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
    command = [sys.executable, str(SCRIPT), "--platform", "cuda:host", "--tiny", *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(out.read_text())
    assert json.loads(done.stdout) == report
    failed = {name: part for name, part in report.items() if "failed" in str(part)}
    assert not failed
    assert not [name for name, part in report.items() if "left_out" in str(part)]
    steps = [
        f"tiny {form}: {part}"
        for form in ("bf16", "fp8", "int4")
        for part in ("load", "decode", "prefill", "idle")
    ]
    served = [f"tiny: {part}" for part in ("ours", "transformers generate", "transformers batched")]
    assert {"ceilings", "kernels", *steps, *served} <= set(report)
    assert all(part["of_copy"] > 0 for part in report["tiny bf16: decode"])
    assert all(report[name]["output_tokens_per_s"] > 0 for name in served)
    assert report["tiny fp8: load"]["matrix_bytes"] < report["tiny bf16: load"]["matrix_bytes"]
    kernels = {entry["kernel"].partition(",")[0]: entry["of_copy"] for entry in report["kernels"]}
    wanted = {"attention", "add_rms_norm", "rope_write", "linear in fp8", "linear in int4", "draw"}
    assert wanted <= set(kernels) and all(share > 0 for share in kernels.values())


def test_a_part_that_fails_or_comes_too_late_says_so_and_takes_nothing_with_it(tmp_path):
    import importlib.util

    spec = importlib.util.spec_from_file_location("gpu_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    first = sys.path[0]
    try:
        spec.loader.exec_module(script)
    finally:
        sys.path[0] = first
    report = script.Report(tmp_path / "x.json", 10.0, "unwanted")
    assert report.part("good", lambda: 5) == 5
    assert report.part("broken", lambda: 1 // 0) is None
    assert report.part("late", lambda: 6, expected_s=60) is None
    assert report.part("unwanted part", lambda: 7) is None
    written = json.loads((tmp_path / "x.json").read_text())
    assert written["good"] == 5 and "ZeroDivisionError" in written["broken"]["failed"]
    assert "s were left and it takes 60" in written["late"]["left_out"]
    assert written["unwanted part"] == {"left_out": "by --leave-out"}
