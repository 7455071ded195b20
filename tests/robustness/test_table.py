"""docs/robustness.md says what the tests' markers say, and leaves nothing out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "ci/robustness"
sys.path.insert(0, str(TOOL))
try:
    import kinds
    import markers
    import page
    import proof
finally:
    sys.path.remove(str(TOOL))

DEFENCES = markers.read()
SAMPLE = """
@pytest.mark.defends("{kind}", "it is", without={without})
@pytest.mark.parametrize("x", [1])
def test_x(x):
    pass
"""


def test_the_page_is_what_the_markers_say() -> None:
    written = page.PAGE.read_text()
    assert page.made(DEFENCES, page.dates(written)) == written, (
        "run python ci/robustness/table.py --write"
    )


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_kind_has_a_defence_and_a_test(kind: str) -> None:
    assert any(one.kind == kind for one in DEFENCES)


def test_every_test_was_seen_to_fail_without_its_defence() -> None:
    days = page.dates(page.PAGE.read_text())
    unseen = [one.node for one in DEFENCES if days.get(page.key(one), page.NEVER) == page.NEVER]
    assert not unseen, "run python ci/robustness/table.py --without --write"


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda one: one.test)
def test_every_edit_has_its_one_place(defence: markers.Defence) -> None:
    for edit in defence.edits:
        compile(edit.applied(), edit.module, "exec")


def test_markers_are_for_tests_that_are_collected() -> None:
    for one in DEFENCES:
        assert Path(one.file).name.startswith("test_") and one.test.startswith("test_"), one.node


@pytest.mark.parametrize(
    ("kind", "without", "says"),
    [
        ("no such kind", '("a", "b", "c")', "no kind of kinds.py"),
        ("media", '("a", "b")', "missing 1 required"),
        ("media", "[]", "without is empty"),
        ("media", "edits()", "malformed"),
    ],
)
def test_a_wrong_marker_is_named_with_its_place(
    tmp_path: Path, kind: str, without: str, says: str
) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_x.py").write_text(SAMPLE.format(kind=kind, without=without))
    with pytest.raises(markers.WrongMarker, match=f"test_x.py:2: .*{says}"):
        markers.read(("tests",), tmp_path)


# ------------------------------------------------------------------------------------------------------ the proof

CASE = """
from dovetail.tiers.names import NAME_BYTES

def test_a_name_is_long():
    assert NAME_BYTES >= 32
"""


@pytest.fixture
def case(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "test_case.py").write_text(CASE)
    yield str(tmp_path / "test_case.py")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("NAME_BYTES = 32", "NAME_BYTES = 8", "failure"),
        ("NAME_BYTES = 32", "NAME_BYTES = 64", "the outcome is: passed"),
        ("NAME_BYTES = 32", "NAME_BYTES = 1 / 0", "cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_test_has_to_fail_and_not_for_a_wrong_reason(
    case: str, old: str, new: str, says: str
) -> None:
    edit = markers.Edit("dovetail.tiers.names", old, new)
    found = proof.without(markers.Defence("media", "it is", case, "test_a_name_is_long", (edit,)))
    assert says in found


def test_a_test_that_does_not_end_has_noticed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = tmp_path / "test_case.py"
    case.write_text(CASE.replace("assert NAME_BYTES >= 32", "while NAME_BYTES < 32: pass"))
    monkeypatch.setattr(proof, "LIMIT_S", 3)
    edit = markers.Edit("dovetail.tiers.names", "NAME_BYTES = 32", "NAME_BYTES = 8")
    defence = markers.Defence("media", "it is", str(case), "test_a_name_is_long", (edit,))
    assert "the outcome is: it does not end" in proof.without(defence)


def test_an_edit_reaches_the_processes_that_a_test_starts() -> None:
    edit = markers.Edit("dovetail.tiers.names", "NAME_BYTES = 32", "NAME_BYTES = 8")
    program = "from dovetail.tiers.names import NAME_BYTES; print(NAME_BYTES)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    for environment, told in ((proof.environment((edit,)), "8"), (dict(os.environ), "32")):
        done = subprocess.run(
            [sys.executable, "-c", outer], env=environment, capture_output=True, text=True
        )
        assert done.stdout.strip() == told
