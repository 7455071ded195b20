"""Running the conformance suite on a mutant."""

from __future__ import annotations

from collections.abc import Iterator

from dovetail_sdk.conformance import Check, Context, Outcome, checks, run_check

from .plant import Mutant


def caught(mutant: Mutant, first: str = "") -> Outcome | None:
    """The first check that fails in the layers that should have one; None if all pass.

    first  name of a check to begin with
    """
    context = Context(mutant.platform())
    for check in sorted(expected(mutant), key=lambda check: str(check) != first):
        outcome = run_check(check, context)
        if outcome.status == "failed":
            return outcome
    return None


def expected(mutant: Mutant) -> Iterator[Check]:
    """The checks that may catch a mutant."""
    for layer in mutant.layers:
        yield from checks([layer], mutant.ops if layer == "ops" else None)
