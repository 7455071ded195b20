"""What `dovetail conformance` does, once the core has found this package."""

from __future__ import annotations

import argparse
import sys

from .check import Outcome
from .engine import run
from .installed import open_installed
from .scorecard import Scorecard


def run_command(given: argparse.Namespace) -> int:
    """Test a platform; status 0 if it passed, 1 if not.

    given  platform, ops, layer (a list or None), json, csv, emulated
    """
    context = open_installed(given.platform, emulated=given.emulated)
    card = run(
        context.platform,
        layers=given.layer,
        ops=given.ops,
        ids=context.ids,
        spec=given.platform,
        emulated=given.emulated,
        tell=None if given.json or given.csv else tell,
    )
    card.platform = given.platform
    sys.stdout.write(output(card, given) + "\n")
    return 0 if card.ok else 1


def output(card: Scorecard, given: argparse.Namespace) -> str:
    """As JSON, as CSV or for people."""
    if given.json:
        return card.json()
    return card.csv().rstrip("\n") if given.csv else card.text()


def tell(outcome: Outcome) -> None:
    """Failures as they happen."""
    if outcome.status == "failed":
        sys.stderr.write(f"FAILED {outcome.check}: {outcome.reason}\n")
