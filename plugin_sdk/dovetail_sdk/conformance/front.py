"""The pytest front end: checks as parametrised tests, and what they found as a scorecard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .check import LAYERS, Check, Outcome
from .context import Context
from .engine import checks, describe, run_check
from .installed import open_installed
from .scorecard import Scorecard

Test = Callable[[Check, pytest.FixtureRequest], None]


class Run:
    """A platform under test in this pytest session, and its outcomes so far."""

    def __init__(self, spec: str, *, emulated: bool) -> None:
        self.context: Context = open_installed(spec, emulated=emulated)
        self.card = Scorecard(spec)

    def check(self, check: Check) -> Outcome:
        """Run one and keep what came of it."""
        outcome = run_check(check, self.context)
        self.card.outcomes.append(outcome)
        return outcome


_runs: dict[str, Run] = {}


def suite(platform: str | None = None, *, ops: str | None = None) -> dict[str, Test]:
    """Tests of an installed platform for a test module: `globals().update(suite("acme"))`.

    platform  NAME or NAME:device; the option --platform if None
    ops       as in `checks`
    """
    return {f"test_{layer}": layer_test(layer, platform, ops) for layer in LAYERS}


def layer_test(layer: str, platform: str | None = None, ops: str | None = None) -> Test:
    """One test per check of a layer; what is unsupported is skipped with its reason."""
    cases = [pytest.param(check, id=check.name) for check in checks([layer], ops)]

    @pytest.mark.parametrize("check", cases)
    def test(check: Check, request: pytest.FixtureRequest) -> None:
        run = run_of(request.config, platform)
        outcome = run.check(check)
        if outcome.status == "failed":
            note = " (emulated)" if run.context.emulated else ""
            pytest.fail(f"{run.card.platform}{note}: {outcome.reason}", pytrace=False)
        if outcome.status == "unsupported":
            pytest.skip(outcome.reason)

    test.__name__ = test.__qualname__ = f"test_{layer}"
    test.__doc__ = f"Conformance, layer {layer}."
    return test


def run_of(config: pytest.Config, platform: str | None) -> Run:
    """The session's run on a platform, begun at first use."""
    spec = platform or config.getoption("--platform", default=None)
    if spec is None:
        pytest.skip("name a platform to test: --platform NAME")
    if spec not in _runs:
        emulated = bool(config.getoption("--emulated", default=False))
        _runs[spec] = Run(spec, emulated=emulated)
    return _runs[spec]


def finish() -> list[Scorecard]:
    """Close what was opened; the scorecards of this session."""
    cards = []
    for run in _runs.values():
        describe(run.card, run.context)
        run.context.close()
        cards.append(run.card)
    _runs.clear()
    return cards


def is_wanted(item: Any, ops: Any) -> bool:
    """Whether --ops leaves a collected test in."""
    from .engine import wanted

    check = getattr(getattr(item, "callspec", None), "params", {}).get("check")
    return not isinstance(check, Check) or wanted(check, ops)
