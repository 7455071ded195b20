"""`python -m dovetail_sdk.mutants`: plant every fault and write the table of docs/mutants.md to standard output."""

from __future__ import annotations

import sys

from . import MUTANTS
from .catch import caught

HEAD = """\
# Planted faults

The conformance suite is held to these: copies of the reference platform, each wrong in one way
(`plugin_sdk/dovetail_sdk/mutants`). `plugin_sdk/tests/test_mutants.py` plants them all, and the suite must fail on each
and pass on the two copies without a fault, one of which computes as late as the contract allows. The last column is the
first check that fails in the layer where the fault belongs; most are seen by more. `python -m dovetail_sdk.mutants`
writes this page.

| mutant | what is wrong | caught by |
|---|---|---|
"""


def main() -> int:
    """The number of faults that nothing caught."""
    sys.stdout.write(HEAD)
    missed = 0
    for mutant in MUTANTS:
        outcome = caught(mutant)
        missed += outcome is None
        check = "nothing" if outcome is None else f"`{outcome.check}`"
        sys.stdout.write(f"| `{mutant.name}` | {mutant.breaks} | {check} |\n")
        sys.stdout.flush()
    return missed


if __name__ == "__main__":
    sys.exit(main())
