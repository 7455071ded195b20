"""The table of docs/robustness.md: what goes wrong, what is done about it, and the tests that fail without it.

python ci/robustness/table.py --write                       make the page from the tests' markers (markers.py)
python ci/robustness/table.py --check                       status 1 if the page is not what the markers say
python ci/robustness/table.py --without [--quick] [-k WORD] run tests, then each with its defence taken away; status 1 if one
                                                   of them does not fail then
python ci/robustness/table.py --without --write             the same, and keep the days in the page
"""

from __future__ import annotations

import argparse
import datetime
import sys

import markers
import page
from proof import passes, prove


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--without", action="store_true")
    parser.add_argument(
        "-k", default="", metavar="WORD", help="only where the test or the kind has it"
    )
    parser.add_argument("--quick", action="store_true", help="only tests that start no server")
    given = parser.parse_args()
    written = page.PAGE.read_text(encoding="utf-8") if page.PAGE.exists() else ""
    days = page.dates(written)
    status = 0
    if given.without:
        chosen = [one for one in markers.read() if one.quick or not given.quick]
        chosen = [one for one in chosen if given.k in f"{one.node} {one.kind}"]
        seen = without(chosen)
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        days |= {page.key(one): today for one in seen}
        status = int(len(seen) < len(chosen))
    current = page.made(markers.read(), days)
    if given.write:
        page.PAGE.write_text(current, encoding="utf-8")
    elif given.check and current != written:
        print(
            "docs/robustness.md is not what the tests say: run python ci/robustness/table.py --write"
        )
        status = 1
    return status


def without(chosen: list[markers.Defence]) -> list[markers.Defence]:
    """Those whose tests pass, and fail when the defence is taken away; what happens is printed."""
    problem = passes(chosen)
    if problem is not None:
        print(problem)
        return []
    seen = prove(chosen)
    print(f"{len(seen)} of {len(chosen)} tests notice that their defence was taken away")
    return seen


if __name__ == "__main__":
    sys.exit(main())
