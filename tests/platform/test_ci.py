"""The matrix of CI: one file, from which the workflow, ci/run and the README's table are made."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IN_TREE = {"dovetail-sdk": "plugin_sdk", "dovetail-cpu": "platforms/cpu"}


def script(name: str):
    """A script of ci/ as a module."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / "ci" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


matrix, downstream = script("matrix"), script("downstream")
WORKFLOWS = ROOT / ".github/workflows"


def test_the_readme_shows_the_matrix():
    page = (ROOT / "README.md").read_text()
    assert matrix.with_table(page, matrix.read()) == page, "run python ci/matrix.py --write"


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="made by"):
        matrix.with_table("# Dovetail\n", matrix.read())


def test_github_gets_one_entry_per_job_and_python():
    printed = subprocess.run(
        [sys.executable, "ci/matrix.py", "--github"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    entries = json.loads(printed)["include"]
    jobs = matrix.read().jobs
    assert len(entries) == sum(len(job.python) for job in jobs)
    assert {entry["job"] for entry in entries} == {job.name for job in jobs}
    workflow = (WORKFLOWS / "test.yml").read_text()
    assert "ci/matrix.py --github" in workflow and "fromJSON(needs.matrix.outputs.jobs)" in workflow
    assert {*re.findall(r"matrix\.(\w+)", workflow)} - {"outputs", "py"} == {*entries[0]}


def test_every_platform_of_this_tree_that_computes_has_a_job():
    tested = {job.platform for job in matrix.read().jobs}
    for directory in IN_TREE.values():
        project = tomllib.loads((ROOT / directory / "pyproject.toml").read_text())["project"]
        for name, target in project["entry-points"]["dovetail.platforms"].items():
            pretends = target.startswith(("dovetail_sdk.null", "dovetail_sdk.fault"))
            assert pretends or name in tested


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"how": "imagined"}, "how is 'imagined'"),
        ({"suite": "none"}, "no suite 'none'"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: dict[str, str], problem: str):
    text = (ROOT / "ci/matrix.toml").read_text()
    for field, value in change.items():
        text = re.sub(rf'^{field} = ".*"', f'{field} = "{value}"', text, count=1, flags=re.M)
    wrong = tmp_path / "matrix.toml"
    wrong.write_text(text)
    with pytest.raises(ValueError, match=problem):
        matrix.read(wrong)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "ci/run", *words],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )


def test_run_says_what_this_machine_can_run():
    listed = run("--list")
    assert listed.returncode == 0
    for job in matrix.read().jobs:
        (line,) = re.findall(rf"^{job.name}: .*", listed.stdout, flags=re.M)
        assert not job.named or line.endswith("it is run only where it is named")
    assert run("--list", "nothing").stderr.startswith("error: there is no job 'nothing'")


def test_a_job_that_cannot_run_here_is_skipped_and_fails_only_when_named(monkeypatch, capsys):
    job = replace(matrix.read().jobs[0], name="alien", suite="conformance", platform="alien")
    other = replace(job, name="old", python=["2.7"])
    found = matrix.Matrix((job, other), {"conformance": "true {platform}"})
    assert matrix.run(found, [], dry=False) == 0
    printed = capsys.readouterr().out
    assert "alien: skipped, platform alien is not installed" in printed
    assert "old: skipped, it is for Python 2.7" in printed
    assert matrix.run(found, ["alien"], dry=False) == 1


def test_emulated_jobs_want_an_emulated_device_and_say_so():
    job = replace(matrix.read().jobs[0], suite="conformance", platform="null", python=["2.7"])
    job = replace(job, python=[matrix.PYTHON])
    assert matrix.obstacle(job) is None
    emulated = replace(job, how="emulated")
    assert "no emulated device" in matrix.obstacle(emulated)
    found = matrix.Matrix((job, emulated), {"conformance": "{python} test {platform}"})
    assert found.command(job) == [sys.executable, "test", "null"]
    assert found.command(emulated) == [sys.executable, "test", "null", "--emulated"]


def test_run_tells_what_failed(capsys):
    job = replace(matrix.read().jobs[0], suite="conformance", platform="", python=[matrix.PYTHON])
    for command, status in (("true", 0), ("false", 1)):
        assert matrix.run(matrix.Matrix((job,), {"conformance": command}), [], dry=False) == status
    assert "passed after" in (printed := capsys.readouterr().out) and "failed with" in printed


def test_downstream_plugins_can_be_found():
    plugins = downstream.read()
    assert {"toy", "mlx"} <= {plugin.platform for plugin in plugins}
    for plugin in plugins:
        directory = ROOT / plugin.source
        if not directory.is_dir():
            continue
        project = tomllib.loads((directory / "pyproject.toml").read_text())["project"]
        assert plugin.platform in project["entry-points"]["dovetail.platforms"]
        assert plugin.requirement() == str(directory)


def test_ci_run_is_make_test():
    assert "exec make test" in (ROOT / ".ci/run").read_text()
    assert matrix.read().suites["tests"].startswith("make test ")


def test_third_parties_can_call_the_conformance_workflow():
    workflow = (WORKFLOWS / "conformance.yml").read_text()
    assert "workflow_call:" in workflow and 'dovetail conformance "$PLATFORM"' in workflow
