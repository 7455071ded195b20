"""The suite itself: what it enumerates, that its guards see what they guard, and that three ways to run it agree."""

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import entry_points
from types import SimpleNamespace

import numpy as np
import pytest
from dovetail.cli import conformance as cli
from dovetail.errors import ConfigError, PlatformNotFound
from dovetail.graph import COMPUTE_DTYPES, OPS
from dovetail_sdk.conformance import Check, Failed, Scorecard, Unsupported, checks, run
from dovetail_sdk.conformance.check import LAYERS, Outcome
from dovetail_sdk.conformance.driving import Guard
from dovetail_sdk.conformance.engine import run_check
from dovetail_sdk.conformance.installed import open_installed
from dovetail_sdk.conformance.layers.op_cases import op_cases
from dovetail_sdk.reference import ReferencePlatform

OPS_RUN = "^(add|reshape)$"


def test_there_are_enough_cases_and_each_has_a_name_of_its_own():
    cases = [item for op in OPS for item in op_cases(op)]
    assert sum(len(item.kinds()) for item in cases) >= 3000
    assert {(item.case.op, item.case.dtype) for item in cases} == {
        (op, dtype) for op in OPS for dtype in COMPUTE_DTYPES
    }
    names = Counter(map(str, checks()))
    assert [name for name, count in names.items() if count > 1] == []
    assert {check.layer for check in checks()} == set(LAYERS)
    assert [str(check) for check in checks()] == list(names)


def test_a_layer_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="kernels"):
        list(checks(["kernels"]))


def test_guards_see_writes_beside_and_inside():
    for change in (lambda a: a.__setitem__(1, 9), lambda a: a.base.__setitem__(-1, 0)):
        guard = Guard()
        array = guard.array("tokens", [1, 2, 3])
        guard.check()
        change(array)
        with pytest.raises(Failed, match="tokens"):
            guard.check()


def test_guarded_arrays_are_taken_back_as_zeros():
    guard = Guard()
    array = guard.array("tokens", [1, 2, 3])
    guard.release()
    assert (array == 0).all()
    out = guard.out("out", (2, 3), np.uint8)
    out[:] = 7
    guard.check()


@pytest.mark.parametrize(
    ("raised", "status"),
    [(Failed("x"), "failed"), (Unsupported("x"), "unsupported"), (OSError("x"), "failed")],
)
def test_what_a_check_raises_is_its_outcome(raised, status):
    def body(context):
        raise raised

    outcome = run_check(Check("steps", "one", body), None)
    assert outcome.status == status and "x" in outcome.reason


def card_of(statuses, emulated=False):
    check = next(iter(checks(["ops"])))
    outcomes = [Outcome(check, status, 2, "because") for status in statuses]
    return Scorecard("acme", "a device", emulated, outcomes)


def test_a_scorecard_counts_and_says_why():
    card = card_of(["passed", "failed", "unsupported"])
    assert not card.ok and card.cases == 2
    assert "FAILED ops/" in card.text() and "because" in card.text()
    (row,) = card.support()
    assert (row.result, row.passed, row.unsupported, row.failed) == ("failed", 1, 1, 1)
    assert card_of(["passed"]).ok and not card_of(["unsupported"]).ok


def test_an_emulator_is_named_in_every_output():
    card = card_of(["passed"], emulated=True)
    assert "EMULATED" in card.text() and "emulated" in card.text().splitlines()[-1]
    assert card.csv().startswith("# emulated\n")
    assert json.loads(card.json())["emulated"] is True
    assert "emulated" not in card_of(["passed"]).text().lower()


def test_a_platform_that_is_not_installed_is_said():
    with pytest.raises(PlatformNotFound, match="reference"):
        open_installed("nowhere")


def test_the_command_says_where_the_suite_is(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="dovetail_sdk")

    monkeypatch.setattr(cli, "importlib", SimpleNamespace(import_module=missing))
    with pytest.raises(ConfigError, match="pip install dovetail-sdk"):
        cli.run(SimpleNamespace(), None)


def command(*words):
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )


@pytest.fixture(scope="module")
def in_process():
    return run(ReferencePlatform(), ops=OPS_RUN)


def test_the_command_line_finds_the_same(in_process):
    words = ("-m", "dovetail.cli.main", "conformance", "reference", "--ops", OPS_RUN)
    found = command(*words, "--json")
    assert found.returncode == 0, found.stderr
    story = json.loads(found.stdout)
    assert story["cases"] == in_process.cases and story["ok"]
    assert [check["name"] for check in story["checks"]] == [
        outcome.check.name for outcome in in_process.outcomes
    ]
    assert command(*words, "--csv").stdout == in_process.csv()


@pytest.mark.parametrize("way", ["module", "three lines"])
def test_pytest_finds_the_same(in_process, way, tmp_path):
    if not any(point.name == "dovetail_conformance" for point in entry_points(group="pytest11")):
        pytest.skip("this installation of dovetail-sdk is older than its pytest plugin")
    own = tmp_path / "test_own.py"
    own.write_text(
        "from dovetail_sdk.conformance import suite\n\nglobals().update(suite('reference'))\n"
    )
    what = [str(own)]
    if way == "module":
        what = ["--pyargs", "dovetail_sdk.conformance", "--platform", "reference"]
    found = command("-m", "pytest", "-q", f"--rootdir={tmp_path}", *what, "--ops", OPS_RUN)
    assert found.returncode == 0, found.stdout
    assert f"{len(in_process.outcomes)} passed" in found.stdout
    assert f"reference: passed, {in_process.cases} cases" in found.stdout
