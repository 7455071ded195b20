"""docs/robustness.md, made of the markers. The dates on which defences were last taken away are kept in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from kinds import ABUSE, FAULTS, KINDS
from markers import ROOT, Defence, Edit

PAGE = ROOT / "docs/robustness.md"
NEVER = "not yet"
MOST = 90
"""Characters of an edit that are shown."""
HEAD = """\
# What goes wrong, and what holds

The kinds of faults that have harmed servers of language models, what this one does about each, and the tests that show it.
Made by `python ci/robustness/table.py --write` from the markers of the tests (`ci/robustness/markers.py`); a test fails when the page
is not what the markers say, and when a kind has no test.

Each test is also run with its defence taken away, and has to fail then: `ci/robustness` puts an edit into a module as it is
imported, in all processes that the test starts. The last table has the edits.

```sh
python ci/robustness/table.py --without --quick
```

runs this for {quick} of the {rows} markers, and without `--quick` for all ({tests} tests), which takes half an hour; with `--write` the
days are put into the last table.
"""
ROW = re.compile(r"^\| (`\S+`) \| (.*) \| ([\d-]{10}) \|$", re.M)


def made(defences: Sequence[Defence], proven: Mapping[tuple[str, str], str]) -> str:
    """The page.

    proven  (test, edits) as `key` has them -> the day on which the test was seen to fail
    """
    tests, quick = len({one.node for one in defences}), sum(one.quick for one in defences)
    parts = [HEAD.format(rows=len(defences), tests=tests, quick=quick)]
    for title, kinds in (("Abuse", ABUSE), ("Faults and load", FAULTS)):
        parts.append(
            f"## {title}\n\n| what goes wrong | what is done about it | shown by |\n|---|---|---|\n"
        )
        parts[-1] += "".join(_rows(kinds, defences))
    lines = [
        f"| {test} | {edits} | {proven.get((test, edits), NEVER)} |"
        for test, edits in _proofs(defences)
    ]
    head = "## Without it\n\n| test | fails with | last seen on |\n|---|---|---|\n"
    return "\n".join((*parts, head + "\n".join(lines) + "\n"))


def dates(page: str) -> dict[tuple[str, str], str]:
    """What the last table of a page says, for `made`."""
    return {(test, edits): day for test, edits, day in ROW.findall(page)}


def key(defence: Defence) -> tuple[str, str]:
    """How the last table names a marker."""
    return f"`{_short(defence)}`", "<br>".join(_shown(edit) for edit in defence.edits)


def _proofs(defences: Iterable[Defence]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(key(one) for one in defences))


def _rows(kinds: Mapping[str, str], defences: Sequence[Defence]) -> Iterable[str]:
    for kind in kinds:
        mine = [one for one in defences if one.kind == kind]
        label = f"**{kind}**: {KINDS[kind]}"
        for sentence in dict.fromkeys(one.sentence for one in mine):
            tests = dict.fromkeys(f"`{_short(one)}`" for one in mine if one.sentence == sentence)
            yield f"| {label} | {sentence} | {', '.join(tests)} |\n"
            label = ""


def _short(defence: Defence) -> str:
    return f"{defence.file.removeprefix('tests/').removesuffix('.py')}::{defence.test}"


def _shown(edit: Edit) -> str:
    name = edit.module.removeprefix("dovetail.")
    return (
        f"{name}: {_code(edit.old)} → {_code(edit.new)}"
        if edit.new.strip()
        else f"{name}: no {_code(edit.old)}"
    )


def _code(text: str) -> str:
    """On one line and short, as code within a table."""
    line = " ".join(text.split()).replace("|", "¦").replace("`", "'")
    return f"`{line if len(line) <= MOST else line[: MOST - 1] + '…'}`"
