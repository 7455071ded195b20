"""Take each defence away and see its test fail."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from markers import ROOT, Defence, Edit

EDITS = Path(__file__).parent / "edits"
LIMIT_S = 150
"""More than a test takes that waits in vain for something: it is to end by itself, and to say what that was."""
FAILS, WAITS = "failure", "it does not end"
BARE = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Plugins take longer to import than most tests to run."""
PYTEST = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header")


def without(defence: Defence) -> str:
    """How the test ends with the defence taken away: FAILS, or what is wrong."""
    edited = environment(defence.edits)
    for edit in defence.edits:
        edit.applied()
        done = subprocess.run(
            [sys.executable, "-c", f"import {edit.module}"],
            env=edited,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            return f"with the edit {edit.module} cannot be imported: {done.stderr.strip().splitlines()[-1]}"
    outcome = _run(defence, edited)
    return outcome if outcome == FAILS else f"it is to fail, and the outcome is: {outcome}"


def passes(defences: Sequence[Defence]) -> str | None:
    """Run the tests with everything in place; None if none fails or is skipped, else what pytest printed."""
    nodes = list(dict.fromkeys(one.node for one in defences))
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        done = subprocess.run(
            [*PYTEST, f"--junitxml={report}", *nodes], cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode or not report.exists():
            return done.stdout + done.stderr
        passed = [case for case in _cases(report) if _outcome(case) == "passed"]
    seen = {case.get("name", "").partition("[")[0] for case in passed}
    unseen = [one.node for one in defences if one.test not in seen]
    return f"not run to the end: {', '.join(unseen)}" if unseen else None


def environment(edits: Sequence[Edit]) -> dict[str, str]:
    triples = json.dumps([[edit.module, edit.old, edit.new] for edit in edits])
    path = os.pathsep.join(filter(None, (str(EDITS), os.environ.get("PYTHONPATH", ""))))
    return {**BARE, "PYTHONPATH": path, "WITHOUT": triples}


def _run(defence: Defence, environment: dict[str, str]) -> str:
    """How the test ended: passed, FAILS, error, skipped, WAITS, or what pytest said if it did not run."""
    with tempfile.TemporaryDirectory() as directory:
        report, said = Path(directory, "report.xml"), Path(directory, "said")
        with said.open("w") as out:
            process = subprocess.Popen(
                [*PYTEST, *_plugins(defence), f"--junitxml={report}", defence.node],
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                if not _ends(process):
                    return WAITS
            finally:
                _end_session(process)
        outcomes = [_outcome(case) for case in _cases(report)] if report.exists() else []
        for outcome in (FAILS, "error", "skipped"):
            if outcome in outcomes:
                return outcome
        return "passed" if outcomes else said.read_text().strip()


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ends in time; a while in which nothing on this machine runs counts as a second."""
    for _ in range(LIMIT_S):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
            return True
    return False


def _plugins(defence: Defence) -> list[str]:
    """Only where it is needed: Hypothesis takes longer to import than most tests."""
    drawn = "hypothesis" in (ROOT / defence.file).read_text(encoding="utf-8")
    return ["-p", "unshrunk"] if drawn else []


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """End all that the test has started: without its defence it may have left something behind."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
            if session == process.pid:
                os.kill(int(entry.name), signal.SIGKILL)
    process.wait()


def _cases(report: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(report).iter("testcase"))


def _outcome(case: ElementTree.Element) -> str:
    found = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    return found[0] if found else "passed"


def prove(defences: Sequence[Defence]) -> list[Defence]:
    """Those whose tests notice that the defence was taken away; a line is printed for each."""
    found = []
    for number, defence in enumerate(defences, start=1):
        start = time.monotonic()
        outcome = without(defence)
        if outcome == FAILS:
            found.append(defence)
        said = "fails without it" if outcome == FAILS else f"WRONG: {outcome}"
        took_s = time.monotonic() - start
        print(f"[{number}/{len(defences)}] {took_s:5.1f} s  {defence.node}: {said}", flush=True)
    return found
