"""Plugins that misbehave: the engine starts on another platform, or refuses with the cause when the plugin was named."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from dovetail.config import EngineConfig
from dovetail.engine import EngineInfo, load, start_engine
from dovetail.errors import (
    ContractMismatch,
    DeviceUnavailable,
    PlatformBroken,
    PlatformError,
    PlatformNotFound,
)
from dovetail.platform import Device, DeviceInfo, Feature, Platform
from dovetail.plugins import GROUP, Found, choices, discover, open_device, open_first, select
from dovetail.weights.checkpoint import open_checkpoint
from dovetail_sdk.null import NullPlatform
from dovetail_sdk.testing import write_checkpoint

TIMEOUT_S = 0.5
GO = threading.Event()  # lets whatever hangs in these tests go


class Healthy(NullPlatform):
    name = "healthy"
    rank = 1

    def probe(self) -> list[DeviceInfo]:
        return [DeviceInfo(id="0", description="does nothing, well")]


class RaisesInProbe(Healthy):
    name = "raising"
    rank = 90

    def probe(self) -> list[DeviceInfo]:
        raise OSError("bus error")


class ExitsInProbe(Healthy):
    name = "exiting"
    rank = 90

    def probe(self) -> list[DeviceInfo]:
        sys.exit(3)


class HangsInProbe(Healthy):
    name = "hanging"
    rank = 90

    def probe(self) -> list[DeviceInfo]:
        GO.wait()
        return super().probe()


class Future(Healthy):
    name = "future"
    contract = 3
    rank = 90


class Misspelt(Healthy):
    name = "misspelt"
    rank = 90

    def opens(self) -> None:
        pass


class Vanishing(Healthy):
    name = "vanishing"
    rank = 90

    def open(self, devices) -> Device:
        raise RuntimeError("cable was pulled")


class OpensSomethingElse(Healthy):
    name = "odd"
    rank = 90

    def open(self, devices) -> Device:
        return object()  # type: ignore[return-value]


class WrongProbe(Healthy):
    name = "wrong"
    rank = 90

    def probe(self):
        return "0"


class TwiceTheSame(Healthy):
    name = "twice"
    rank = 90

    def probe(self) -> list[DeviceInfo]:
        return super().probe() * 2


BROKEN = {
    "raising": ("bus error", PlatformBroken),
    "exiting": ("SystemExit: 3", PlatformBroken),
    "hanging": ("had not ended after 0.5 s", PlatformBroken),
    "future": ("it speaks contract 3 and this core speaks 1;", ContractMismatch),
    "misspelt": ("Misspelt.opens is not in the contract (did you mean open?)", PlatformBroken),
    "wrong": ("not a list of DeviceInfo", PlatformBroken),
    "twice": ("each needs a name", PlatformBroken),
    "import_raises": ("ZeroDivisionError", PlatformBroken),
    "import_hangs": ("had not ended after 0.5 s", PlatformBroken),
}
SOURCES = {
    "import_raises": "1 / 0",
    "import_hangs": "import plugins_under_test; plugins_under_test.GO.wait()",
}


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    GO.clear()
    yield
    GO.set()


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], EntryPoint]:
    """An entry point per platform above, or per module in SOURCES."""
    module = types.ModuleType("plugins_under_test")
    module.GO = GO  # type: ignore[attr-defined]
    classes = {}
    for made in list(globals().values()):
        if isinstance(made, type) and issubclass(made, Healthy):
            setattr(module, made.__name__, made)
            classes[made.name] = made.__name__
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, source in SOURCES.items():
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)

    def make(name: str) -> EntryPoint:
        if name in SOURCES:
            return EntryPoint(name, f"{name}:Plugin", GROUP)
        return EntryPoint(name, f"{module.__name__}:{classes[name]}", GROUP)

    return make


def look(*points: EntryPoint) -> list[Found]:
    return discover(points, timeout_s=TIMEOUT_S)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_harms_no_other(point, name: str):
    reason, kind = BROKEN[name]
    found = look(point(name), point("healthy"))
    assert str(select(None, found)) == "healthy:0"
    assert select("healthy", found).reason == "named"
    broken = next(entry for entry in found if entry.name == name)
    assert reason in (broken.problem or "") and broken.platform is None
    with pytest.raises(kind, match=re.escape(reason)):
        select(name, found)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_alone_is_refused_with_its_cause(point, name: str):
    with pytest.raises(PlatformNotFound, match=re.escape(BROKEN[name][0])):
        select(None, look(point(name)))


def test_two_of_one_name_are_refused_and_a_third_is_used(point):
    found = look(point("vanishing"), point("vanishing"), point("healthy"))
    assert str(select(None, found)) == "healthy:0"
    with pytest.raises(PlatformBroken, match="several distributions"):
        select("vanishing", found)


@pytest.mark.parametrize("name", ["vanishing", "odd"])
def test_a_device_that_cannot_be_opened_gives_way_to_the_next(point, name: str):
    found = look(point(name), point("healthy"))
    assert str(select(None, found)) == f"{name}:0"
    chosen, device = open_first(choices(None, found))
    assert str(chosen) == "healthy:0" and f"passed over: {name}:0" in chosen.reason
    device.close()
    with pytest.raises(DeviceUnavailable, match=f"{name}:0"):
        open_first(choices(name, found))


def test_when_nothing_can_be_opened_every_cause_is_told(point):
    found = look(point("vanishing"), point("odd"))
    with pytest.raises(DeviceUnavailable, match="cable was pulled") as error:
        open_first(choices(None, found))
    assert "is not a subclass" in str(error.value)


# ------------------------------------------------------------------------------------------------------ contract numbers


@pytest.mark.parametrize(
    ("core", "accepted", "refused"), [(1, {1}, {0, 2}), (2, {1, 2}, {0, 3}), (7, {6, 7}, {5, 8})]
)
def test_a_core_takes_its_own_contract_and_the_one_before(
    point, monkeypatch: pytest.MonkeyPatch, core: int, accepted: set[int], refused: set[int]
):
    monkeypatch.setattr("dovetail.platform.CONTRACT", core)
    for number in accepted | refused:
        monkeypatch.setattr(Healthy, "contract", number)
        (found,) = look(point("healthy"))
        assert (found.platform is not None) == (number in accepted)
        if number in refused:
            spoken = " or ".join(str(n) for n in sorted(accepted, reverse=True))
            assert f"speaks contract {number} and this core speaks {spoken}" in str(found.problem)
            with pytest.raises(ContractMismatch, match=f"contract {number}"):
                select("healthy", [found])


def test_a_class_that_states_no_contract_was_written_against_the_first(monkeypatch):
    monkeypatch.setattr("dovetail.platform.CONTRACT", 2)
    assert Platform.contract == 1


# ---------------------------------------------------------------------------------------------------------- the engine


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory):
    return open_checkpoint(str(write_checkpoint(tmp_path_factory.mktemp("tiny"))), progress=False)


def test_the_engine_starts_on_the_next_best(point, checkpoint):
    found = look(*map(point, [*BROKEN, "vanishing", "healthy"]))
    engine = load.load_engine(EngineConfig(), checkpoint, choices(None, found))
    assert engine.info.platform == "healthy" and "cable was pulled" in engine.info.reason
    engine.close()
    with pytest.raises(PlatformError, match="cable was pulled"):
        load.load_engine(EngineConfig(), checkpoint, choices("vanishing", found))


# ---------------------------------------------------------------------- end to end: a distribution on a path of its own

PLUGIN = '''
import os
from dovetail.platform import DeviceInfo
from dovetail_sdk.null import NullPlatform


class Flaky(NullPlatform):
    """There for whoever looks first, and gone when it is to be opened."""

    name = "flaky"
    rank = 1000

    def probe(self):
        return [DeviceInfo(id="0", description="loosely plugged in")]

    def open(self, devices):
        raise RuntimeError("it fell out")


class Shy(NullPlatform):
    """There for the launcher, and not for the engine process."""

    name = "shy"
    rank = 2000

    def probe(self):
        here = os.path.exists(os.environ["SHY_SEEN"])
        open(os.environ["SHY_SEEN"], "a").close()
        return [DeviceInfo(id="0", description="shy", unavailable="it hides" if here else None)]


class Null(NullPlatform):
    name = "stand_in"
    rank = 900
'''
POINTS = {
    "flaky": "flaky_plugin:Flaky",
    "shy": "flaky_plugin:Shy",
    "stand_in": "flaky_plugin:Null",
    "crashing": "crashing_plugin:Plugin",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with four platforms, on the path of this process and of its children."""
    (tmp_path / "flaky_plugin.py").write_text(PLUGIN)
    (tmp_path / "crashing_plugin.py").write_text("raise ImportError('libflaky.so.1 is not there')")
    info = tmp_path / "flaky-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flaky\nVersion: 2.5\n")
    lines = [f"[{GROUP}]", *(f"{name} = {target}" for name, target in POINTS.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SHY_SEEN", str(tmp_path / "seen"))
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    monkeypatch.setenv("DOVETAIL_MAX_NUM_SEQS", "4")
    return tmp_path


def dovetail(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dovetail.cli.main", *words], capture_output=True, text=True
    )


def test_platforms_lists_what_is_broken_and_why(installed: Path):
    done = dovetail("platforms", "--json", "--verbose")
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert done.returncode == 0
    assert "libflaky.so.1" in found["crashing"]["problem"] and not found["crashing"]["usable"]
    assert "it fell out" in found["flaky"]["devices"][0]["unavailable"]
    states = {f["name"]: f["state"] for f in found["stand_in"]["devices"][0]["features"]}
    assert states["dtype:f32"] == "supported"
    assert found["flaky"]["distribution"] == "flaky" and found["flaky"]["version"] == "2.5"


def test_doctor_tells_the_whole_story(installed: Path):
    (installed / "seen").touch()
    done = dovetail("doctor")
    assert done.returncode == 0, done.stderr
    for told in (
        "flaky 2.5",
        "flaky_plugin:Flaky",
        str(installed / "flaky_plugin.py"),
        "libflaky.so.1 is not there",
        "loosely plugged in",
        "it hides",
        "DOVETAIL_MAX_NUM_SEQS",
        "HF_TOKEN",
        "chosen: flaky:0",
        "numpy",
        "contract 1",
    ):
        assert told in done.stdout
    assert "hf_very_secret" not in done.stdout
    story = json.loads(dovetail("doctor", "--json").stdout)
    assert story["chosen"]["device"] == "flaky:0" and story["versions"]["flaky"] == "2.5"
    assert story["machine"]["usable_cpus"] >= 1


def test_doctor_fails_where_nothing_can_be_used(installed: Path, monkeypatch):
    monkeypatch.setenv("DOVETAIL_PLATFORM", "crashing")
    done = dovetail("doctor")
    assert done.returncode == 1 and "problem: platform crashing cannot be used" in done.stdout


def test_serve_passes_over_devices_that_have_gone(installed: Path, tmp_path_factory):
    directory = write_checkpoint(tmp_path_factory.mktemp("tiny"))
    server = subprocess.Popen(
        [sys.executable, "-m", "dovetail.cli.main", "serve", str(directory), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None and server.stderr is not None
    try:
        first = server.stdout.readline()
        assert "http://" in server.stdout.readline()
    finally:
        server.send_signal(signal.SIGTERM)
        _, warned = server.communicate()
    assert first.startswith("engine: stand_in (rank 900,"), first + warned
    assert "it hides" in first and "it fell out" in first
    assert server.returncode == 0


@pytest.mark.parametrize(
    ("name", "cause"), [("shy", "it hides"), ("flaky", "it fell out"), ("crashing", "libflaky")]
)
def test_serve_refuses_a_named_platform_with_the_cause(installed: Path, name: str, cause: str):
    done = dovetail("serve", "demo", "--platform", name, "--port", "0")
    assert done.returncode == 1 and cause in done.stderr and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: ")


# ---------------------------------------------------------------------------------------- the launcher and the engine


def test_the_engine_process_loads_what_the_launcher_chose(installed: Path, checkpoint):
    """Only children see the distribution: an engine process that chose for itself would take one of its platforms."""

    async def start() -> EngineInfo:
        client = await start_engine(EngineConfig(), checkpoint)
        await client.close()
        return client.info

    info, chosen = asyncio.run(start()), select(None)
    assert info.platform == chosen.platform.name and info.platform not in POINTS
    assert info.reason == chosen.reason


def test_import_dovetail_imports_no_plugin(installed: Path):
    program = (
        "import sys, dovetail, dovetail.llm, dovetail.server.serve, dovetail.cli.main;"
        "print([m for m in sys.modules if 'flaky' in m or m.startswith('dovetail_')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_named_platform_is_the_only_one_imported(installed: Path):
    program = (
        "import sys; from dovetail.plugins import select; print(select('null'));"
        "print([m for m in sys.modules if 'flaky' in m])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["null:0", "[]"], done.stderr


# ----------------------------------------------------------------------------------------------- what nobody has verified


def test_the_engine_says_which_features_nobody_has_seen_work(checkpoint, caplog):
    found = select("null")
    device = open_device(found)
    features = (
        Feature("dtype:f32", "unverified", "tested on an emulator"),
        Feature("cache:f32", "supported", "tested on hardware"),
        Feature("cache:bf16", "unverified", "not used here"),
    )
    device.capabilities = dataclasses.replace(device.capabilities, features=features)

    class Chosen(NullPlatform):
        def open(self, devices) -> Device:
            return device

    offer = dataclasses.replace(found, platform=Chosen())
    load.load_engine(EngineConfig(dtype="f32"), checkpoint, [offer]).close()
    told = [record.message for record in caplog.records if "unverified" in record.message]
    assert told == ["dtype:f32 is unverified on this device: tested on an emulator"]
