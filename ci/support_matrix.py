"""Render docs/support-matrix.md from docs/support/*.csv, one column per platform.

dovetail conformance cpu --layer ops --csv > docs/support/cpu.csv    record a platform
python ci/support_matrix.py                                           render the page
python ci/support_matrix.py --check                                   say if the page is not up to date
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
Key = tuple[str, str, str, str]
Rows = Mapping[Key, Mapping[str, str]]

HEAD = """# Support matrix

What each platform of this repository runs, by op, dtype, weight form and cache form. It is measured by the conformance suite and
recorded in [docs/support](support); `ci/support_matrix.py` renders this page. A platform that supports less than its file
says fails the tests.

`yes` runs within the op's tolerance; `n of m` runs that many of the cases; `-` says that it cannot.
"""


def read(path: Path) -> tuple[str, Rows]:
    """Title and rows of a file; the title says if the numbers are an emulator's."""
    lines = path.read_text().splitlines()
    emulated = any(line.startswith("#") and "emulated" in line for line in lines)
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    found = {key_of(row): row for row in rows}
    return f"{path.stem} (emulated)" if emulated else path.stem, found


def key_of(row: Mapping[str, str]) -> Key:
    """What a row is about."""
    return row["op"], row["dtype"], row["weight_form"], row["cache_form"]


def word(row: Mapping[str, str] | None) -> str:
    """A cell of the page."""
    if row is None:
        return ""
    if row["result"] == "failed":
        return "**fails**"
    if row["result"] == "unsupported":
        return "-"
    passed, missing = int(row["passed"]), int(row["unsupported"])
    return f"{passed} of {passed + missing}" if missing else "yes"


def render(platforms: Mapping[str, Rows]) -> str:
    """The page."""
    lines = [HEAD, "| " + " | ".join(["op", "dtype", "form", *platforms]) + " |"]
    lines.append("|" + "---|" * (3 + len(platforms)))
    for key in ordered(platforms.values()):
        op, dtype, weight_form, cache_form = key
        form = weight_form or (cache_form and f"cache {cache_form}")
        words = [word(rows.get(key)) for rows in platforms.values()]
        lines.append("| " + " | ".join([op, dtype, form, *words]) + " |")
    return "\n".join(lines) + "\n"


def ordered(platforms: Iterable[Rows]) -> Iterator[Key]:
    """Every row of any platform once, ops together, in the order of the files."""
    keys = list(dict.fromkeys(key for rows in platforms for key in rows))
    ops = list(dict.fromkeys(key[0] for key in keys))
    return iter(sorted(keys, key=lambda key: ops.index(key[0])))


def page() -> str:
    """What docs/support-matrix.md should be."""
    return render(dict(read(path) for path in sorted((DOCS / "support").glob("*.csv"))))


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    path, wanted = DOCS / "support-matrix.md", page()
    if not given.check:
        path.write_text(wanted)
        return 0
    if path.exists() and path.read_text() == wanted:
        return 0
    print(f"{path} is not what docs/support says; run python ci/support_matrix.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
