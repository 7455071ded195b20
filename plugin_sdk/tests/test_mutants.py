"""The conformance suite sees every planted fault, and none where there is none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from dovetail_sdk.conformance import run
from dovetail_sdk.conformance.check import LAYERS
from dovetail_sdk.mutants import MUTANTS, UNMUTATED, LatePlatform, Mutant
from dovetail_sdk.mutants.catch import caught

TABLE = Path(__file__).parents[2] / "docs" / "mutants.md"
LATE_OPS = "^(embed|kv_write)$"


@cache
def table() -> dict[str, tuple[str, str]]:
    """What docs/mutants.md says: name -> (what is wrong, the check that catches it)."""
    rows = [line.split("|") for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    return {row[1].strip(" `"): (row[2].strip(), row[3].strip(" `")) for row in rows}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_planted_fault_is_caught(mutant: Mutant):
    found = caught(mutant, first=table()[mutant.name][1])
    assert found is not None, f"nothing in {mutant.layers} sees that {mutant.breaks}"


@pytest.mark.parametrize("platform", UNMUTATED, ids=lambda platform: platform.name)
@pytest.mark.parametrize("layer", ["contract", "cache", "steps", "programs"])
def test_copies_without_a_fault_pass(platform, layer):
    card = run(platform(), layers=[layer])
    assert card.ok, [f"{failure.check}: {failure.reason}" for failure in card.failures]


@pytest.mark.parametrize("platform", UNMUTATED, ids=lambda platform: platform.name)
def test_copies_without_a_fault_pass_the_ops(platform):
    ops = LATE_OPS if issubclass(platform, LatePlatform) else None
    card = run(platform(), layers=["ops"], ops=ops)
    assert card.ok, [f"{failure.check}: {failure.reason}" for failure in card.failures]


def test_there_are_enough_and_the_table_names_them_all():
    assert len(MUTANTS) >= 30
    assert [mutant.name for mutant in MUTANTS] == list(table())
    assert [mutant.breaks for mutant in MUTANTS] == [breaks for breaks, _ in table().values()]
    assert all(check.split("/")[0] in LAYERS for _, check in table().values())
