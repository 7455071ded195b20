"""docs/write-a-platform.md: every step's files are applied to a new plugin, and the ops it checks are checked."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from dovetail_sdk import conformance, scaffold
from projects import ROOT, platform_of, project

PAGE = ROOT / "docs" / "write-a-platform.md"
FILE = re.compile(r"^```python (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
OPS = re.compile(r"^\$ dovetail conformance acme --ops '(.+)'$", re.MULTILINE)
STEPS = re.split(r"^## Step ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


def apply(step: str, folder: Path) -> None:
    for name, body in FILE.findall(step):
        assert (folder / name).parent.is_dir(), name
        (folder / name).write_text(body, encoding="utf-8")


@pytest.fixture(scope="module", params=range(len(STEPS)), ids=lambda index: f"step{index + 1}")
def step(request, tmp_path_factory):
    """(folder, text) of a step, all steps up to it applied."""
    folder = scaffold.create("acme", tmp_path_factory.mktemp("tutorial"))
    for text in STEPS[: request.param + 1]:
        apply(text, folder)
    return folder, STEPS[request.param]


def test_a_step_passes_the_checks_it_names(step):
    folder, text = step
    (pattern,) = OPS.findall(text)
    with project(folder, "dovetail_acme"):
        card = conformance.run(platform_of("dovetail_acme", "acme"), ops=pattern)
    assert [outcome for outcome in card.outcomes if outcome.status == "failed"] == []
    seen = {outcome.check.cell.op for outcome in card.outcomes if outcome.status == "passed"}
    assert seen and all(re.search(pattern, op) for op in seen)


def test_the_steps_end_with_kernels_of_the_platforms_own():
    files = [name for name, _ in FILE.findall("".join(STEPS))]
    assert "dovetail_acme/kernels/linear.py" in files
    assert "dovetail_acme/kernels/attention.py" in files
    assert len(STEPS) == 4


def test_the_files_of_every_step_are_linted(step):
    import subprocess

    folder, _ = step
    settings = ["--config", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *settings, str(folder)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
