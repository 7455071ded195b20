"""Discovery and selection of platforms: every refusal keeps its reason and harms no other."""

from __future__ import annotations

import sys
import types
from importlib.metadata import EntryPoint

import pytest
from dovetail.errors import ConfigError, ContractMismatch, PlatformBroken, PlatformNotFound
from dovetail.platform import Device, DeviceInfo, Platform
from dovetail.plugins import GROUP, choices, discover, select


class Good(Platform):
    name = "good"
    rank = 5

    def probe(self) -> list[DeviceInfo]:
        return [
            DeviceInfo(id="0", description="broken one", unavailable="its fan is loud"),
            DeviceInfo(id="1", description="works"),
            DeviceInfo(id="2", description="works too"),
        ]

    def open(self, devices) -> Device:
        raise NotImplementedError


class Better(Good):
    name = "better"
    rank = 9


class OnlyWhenNamed(Good):
    name = "shy"
    rank = None


class Absent(Good):
    name = "absent"
    rank = 100

    def probe(self) -> list[DeviceInfo]:
        return [DeviceInfo(id="0", description="chip", unavailable="no driver")]


class Emulator(Good):
    name = "emulator"
    rank = 200

    def probe(self) -> list[DeviceInfo]:
        return [DeviceInfo(id=str(n), description="stands for it", emulated=True) for n in (0, 1)]


class OldContract(Good):
    name = "old"
    contract = 0


class ProbeRaises(Good):
    name = "raises"

    def probe(self) -> list[DeviceInfo]:
        raise RuntimeError("bus error")


class NotAPlatform:
    name = "odd"


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch):
    module = types.ModuleType("plugins_under_test")
    for made in (
        Good,
        Better,
        OnlyWhenNamed,
        Absent,
        Emulator,
        OldContract,
        ProbeRaises,
        NotAPlatform,
    ):
        setattr(module, made.__name__, made)
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def make(name: str, target: str) -> EntryPoint:
        return EntryPoint(name, f"plugins_under_test:{target}", GROUP)

    return make


def test_each_refusal_keeps_its_reason(point):
    found = {
        entry.name: entry
        for entry in discover(
            [
                point("good", "Good"),
                point("old", "OldContract"),
                point("raises", "ProbeRaises"),
                point("odd", "NotAPlatform"),
                point("gone", "Missing"),
                point("alias", "Better"),
                EntryPoint("nomodule", "no_such_module:X", GROUP),
            ]
        )
    }
    assert found["good"].problem is None
    assert "contract 0" in found["old"].problem and "speaks 1" in found["old"].problem
    assert "bus error" in found["raises"].problem
    assert "not a subclass" in found["odd"].problem
    assert "Missing" in found["gone"].problem
    assert "calls itself 'better'" in found["alias"].problem
    assert "no_such_module" in found["nomodule"].problem


def test_highest_rank_with_a_usable_device_is_chosen(point):
    found = discover(
        [
            point("good", "Good"),
            point("absent", "Absent"),
            point("better", "Better"),
            point("shy", "OnlyWhenNamed"),
        ]
    )
    chosen = select(None, found)
    assert str(chosen) == "better:1"
    assert "good" in chosen.reason


def test_only_named_platforms_are_never_chosen(point):
    found = discover([point("shy", "OnlyWhenNamed")])
    with pytest.raises(PlatformNotFound, match="only when named"):
        select(None, found)
    assert str(select("shy", found)) == "shy:1"


def test_named_platform_that_cannot_be_used_is_an_error(point):
    found = discover(
        [
            point("absent", "Absent"),
            point("old", "OldContract"),
            point("raises", "ProbeRaises"),
            point("good", "Good"),
        ]
    )
    with pytest.raises(PlatformBroken, match="no driver"):
        select("absent", found)
    with pytest.raises(ContractMismatch, match="contract 0"):
        select("old", found)
    with pytest.raises(PlatformBroken, match="bus error"):
        select("raises", found)
    with pytest.raises(PlatformNotFound, match="installed: "):
        select("cuda", found)
    with pytest.raises(ConfigError, match="devices: 0, 1, 2"):
        select("good:7", found)
    with pytest.raises(PlatformBroken, match="fan is loud"):
        select("good:0", found)


def test_a_mesh_is_several_devices(point):
    chosen = select("good:2,1", discover([point("good", "Good")]))
    assert [device.id for device in chosen.devices] == ["2", "1"]


def test_two_plugins_of_one_name_are_both_refused(point):
    found = discover([point("good", "Good"), point("good", "Good")])
    assert [entry.platform for entry in found] == [None, None]
    with pytest.raises(PlatformBroken, match="several distributions"):
        select("good", found)


def test_several_devices_make_a_mesh(point):
    found = discover([point("good", "Good"), point("better", "Better"), point("absent", "Absent")])
    assert str(choices(None, found, members=2)[0]) == "better:1,2"
    assert str(choices("good", found, members=2)[0]) == "good:1,2"
    assert str(choices("good:2,1", found)[0]) == "good:2,1"
    for spec, members in ((None, 3), ("good", 3), ("good:1", 2), ("good:1,1", 2)):
        with pytest.raises(ConfigError, match="--tensor-parallel-size"):
            choices(spec, found, members=members)


def test_an_emulated_device_is_taken_only_by_its_name(point):
    found = discover([point("good", "Good"), point("emulator", "Emulator")])
    assert str(select(None, found)) == "good:1"
    assert str(select("emulator:1", found)) == "emulator:1"
    with pytest.raises(PlatformBroken, match="emulated, only when named"):
        select("emulator", found)
