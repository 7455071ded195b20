"""The matrix of ci/matrix.toml: run its jobs here, hand it to GitHub, or render it for the README.

ci/run [JOB ...]              run these jobs, or all that this machine can run
ci/run --list                 say which those are
python ci/matrix.py --github  the matrix for fromJSON in the workflow
python ci/matrix.py --table   the README's table; --write puts it there
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- made by: python ci/matrix.py --write -->\n", "<!-- end -->\n"
HOW = ("native", "emulated", "compile-only")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One entry of the matrix; the fields are explained there."""

    name: str
    suite: str
    platform: str
    python: list[str]
    how: str
    runner: str | list[str]
    hardware: str
    named: bool = False
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """All jobs, and the command of each suite."""

    jobs: tuple[Job, ...]
    suites: dict[str, str]

    def command(self, job: Job) -> list[str]:
        """What runs a job here."""
        places = {"{python}": sys.executable, "{venv}": sys.prefix, "{platform}": job.platform}
        line = self.suites[job.suite] + (" --emulated" if job.how == "emulated" else "")
        words = shlex.split(line)
        for place, value in places.items():
            words = [word.replace(place, value) for word in words]
        brought = (
            [sys.executable, "ci/opencl_driver.py", "--with", job.driver] if job.driver else []
        )
        return brought + words


def read(path: Path = ROOT / "ci/matrix.toml") -> Matrix:
    """The matrix. Raises ValueError that names what is wrong."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    jobs = tuple(Job(**entry) for entry in table["job"])
    for job in jobs:
        if job.how not in HOW:
            raise ValueError(f"job {job.name}: how is {job.how!r}; it must be one of {HOW}")
        if job.suite not in table["suites"]:
            raise ValueError(f"job {job.name}: there is no suite {job.suite!r}")
    if len({job.name for job in jobs}) < len(jobs):
        raise ValueError("two jobs have the same name")
    return Matrix(jobs, table["suites"])


def github(matrix: Matrix) -> dict[str, Any]:
    """One entry per job and Python version, as a workflow's strategy takes it."""
    return {
        "include": [
            {"job": job.name, "python": version, "runner": job.runner, "driver": job.driver}
            for job in matrix.jobs
            for version in job.python
        ]
    }


def table(matrix: Matrix) -> str:
    """For people, in Markdown."""
    head = ("job", "what", "platform", "Python", "how", "where")
    rows = [
        (f"`{job.name}`", job.suite, job.platform or _platforms(job.suite), ", ".join(job.python), job.how, job.hardware)
        for job in matrix.jobs
    ]  # fmt: skip
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _platforms(suite: str) -> str:
    """Those of a job that needs none in particular."""
    if suite == "kernels":
        return "GPUs that Triton compiles for"
    if suite != "downstream":
        return "all here"
    plugins = tomllib.loads((ROOT / "ci/downstream.toml").read_text(encoding="utf-8"))["plugin"]
    return ", ".join(plugin["platform"] for plugin in plugins)


def with_table(page: str, matrix: Matrix) -> str:
    """A page with the table where its marks are."""
    before, mark, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"the page has no {BEGIN.strip()} and {END.strip()}")
    return before + BEGIN + table(matrix) + END + after


# ------------------------------------------------------------------------------------------------------------ running


def obstacle(job: Job) -> str | None:
    """Why this machine cannot run a job, None if it can."""
    if PYTHON not in job.python:
        return f"it is for Python {', '.join(job.python)}; this is {PYTHON}"
    if job.suite == "tests" and not (Path(sys.prefix) / ".test").exists():
        return "this environment was not made by make; run .ci/run"
    if job.driver:
        return _missing_driver(job)
    return _missing_device(job) if job.platform else None


def _missing_driver(job: Job) -> str | None:
    """Its devices are seen by the job itself, with the driver; here another one may be at work."""
    from dovetail.plugins import discover
    from opencl_driver import missing  # type: ignore[import-not-found]

    name = job.platform.partition(":")[0]
    known = [entry.name for entry in discover()]
    reason: str | None = missing(job.driver)
    return reason if name in known else f"platform {name} is not installed"


def _missing_device(job: Job) -> str | None:
    from dovetail.plugins import discover

    name, _, ids = job.platform.partition(":")
    found = {entry.name: entry for entry in discover()}
    if name not in found:
        return f"platform {name} is not installed"
    entry = found[name]
    if job.how == "compile-only":
        return None if entry.platform is not None else entry.problem
    devices = [
        device
        for device in entry.devices
        if device.unavailable is None
        and device.emulated == (job.how == "emulated")
        and (not ids or device.id in ids.split(","))
    ]
    return None if devices else f"no {job.how} device: {entry.problem or 'none of that kind'}"


def chosen(matrix: Matrix, names: Sequence[str]) -> Iterator[Job]:
    """The jobs of these names, or all. Raises SystemExit for a name that is none."""
    known = {job.name: job for job in matrix.jobs}
    for name in names:
        if name not in known:
            raise SystemExit(f"error: there is no job {name!r} (jobs: {', '.join(known)})")
    yield from (known[name] for name in names) if names else matrix.jobs


def run(matrix: Matrix, names: Sequence[str], *, dry: bool) -> int:
    """Run jobs one after the other; 1 if one fails, or if one that was named cannot run here."""
    failed = False
    for job in chosen(matrix, names):
        why = "it is run only where it is named" if job.named and not names else obstacle(job)
        command = matrix.command(job)
        if why is not None:
            print(f"{job.name}: skipped, {why}", flush=True)
            failed |= bool(names)
            continue
        print(f"{job.name}: {shlex.join(command)}", flush=True)
        if dry:
            continue
        start = time.monotonic()
        status = subprocess.run(command, cwd=ROOT).returncode
        failed |= status != 0
        outcome = "passed" if status == 0 else f"failed with status {status}"
        print(f"{job.name}: {outcome} after {time.monotonic() - start:.0f} s", flush=True)
    return int(failed)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the jobs of ci/matrix.toml.")
    parser.add_argument("job", nargs="*", help="names of jobs; all that can run here if left out")
    parser.add_argument("--list", action="store_true", help="say what would be run")
    parser.add_argument("--github", action="store_true", help="print the matrix as JSON")
    parser.add_argument("--table", action="store_true", help="print the README's table")
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    given = parser.parse_args()
    matrix = read()
    if given.github:
        print(json.dumps(github(matrix)))
    elif given.table:
        print(table(matrix), end="")
    elif given.write:
        README.write_text(with_table(README.read_text(), matrix))
    else:
        return run(matrix, given.job, dry=given.list)
    return 0


if __name__ == "__main__":
    sys.exit(main())
