"""The contract as data and as text: capabilities, and a page that mentions every member."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest
from dovetail import platform
from dovetail.graph import F32, INT8
from dovetail.platform import CacheForm, Capabilities, Feature

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/platform-contract.md").read_text()
CAN = Capabilities(
    ops={"embed": 1, "linear": 2},
    compute_dtypes=("f32", "bf16"),
    weight_forms=(F32, INT8),
    cache_forms=(CacheForm("u8", 1, 64),),
    rewrites=frozenset({"merge_qkv"}),
    features=(
        Feature("dtype:f16", "unsupported", "the unit has none"),
        Feature("cache:u8", "unverified", "only on an emulator"),
    ),
)


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("dtype:f32", "supported", ""),
        ("weights:int8", "supported", ""),
        ("rewrite:merge_qkv", "supported", ""),
        ("op:linear", "supported", ""),
        ("dtype:f16", "unsupported", "the unit has none"),
        ("weights:int4g128", "unsupported", "not declared"),
        ("cache:u8", "unverified", "only on an emulator"),
        ("block_transfer", "unverified", "not declared; a loaded model shows it"),
    ],
)
def test_a_feature_has_a_state_and_a_reason(name: str, state: str, reason: str):
    assert CAN.feature(name) == Feature(name, state, reason)  # type: ignore[arg-type]


def test_known_features_are_listed_declared_or_optional_and_once_each():
    names = [feature.name for feature in CAN.known()]
    assert len(names) == len(set(names))
    assert {"op:embed", "dtype:f16", "cache:u8", "block_transfer"} <= set(names)
    assert CAN.incoherent() == ()


def test_capabilities_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CAN.steps_in_flight = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        CAN.features[0].state = "supported"  # type: ignore[misc]


INTERFACES = (
    platform.Platform,
    platform.Device,
    platform.LoadedModel,
    platform.BlockTransfer,
    platform.Program,
    platform.Pending,
    platform.Ticket,
)
MEMBERS = sorted(
    {
        name
        for interface in INTERFACES
        for name in (*vars(interface), *inspect.get_annotations(interface))
        if not name.startswith("_")
    }
    - {"name", "shape"}
)


@pytest.mark.parametrize("name", MEMBERS)
def test_the_page_mentions_every_member(name: str):
    assert f"{name}" in PAGE


@pytest.mark.parametrize("field", dataclasses.fields(Capabilities), ids=lambda field: field.name)
def test_the_page_has_every_capability_with_its_default(field: dataclasses.Field):
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{field.name}` |"))
    default = row.split("|")[2].strip()
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    assert (default == "") == required


def test_the_contract_is_one_readable_file():
    source = (ROOT / "core/dovetail/platform.py").read_text()
    assert source.count("\n") < 600
    for word in ("Ownership", "Threads", "Blocking", "Lifetime", "Errors", "Optional", "Versions"):
        assert f"\n{word}. " in source
