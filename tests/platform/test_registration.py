"""Registration: a plugin's class is what the contract says, or is refused with the member and what was expected."""

from __future__ import annotations

import numpy as np
import pytest
from dovetail.errors import PlatformBroken
from dovetail.platform import (
    BlockTransfer,
    CacheForm,
    Capabilities,
    Configurable,
    Device,
    DeviceOption,
    Feature,
    LoadedModel,
    Memory,
    Pending,
    Platform,
    Program,
    Ready,
    Shape,
)
from dovetail.plugins import discover, open_device, select
from dovetail.registration import Watched, check, check_class, problems_of_class

CAN = Capabilities(
    ops={"embed": 1},
    compute_dtypes=("f32",),
    weight_forms=("f32",),
    cache_forms=(CacheForm("f32", 1, 64),),
)


class GoodPending(Pending):
    def done(self):
        return True

    def wait(self):
        pass

    def sample(self, rows, columns, late=None):
        return Ready(rows)

    def fetch(self, output, rows):
        return Ready(rows)


class GoodProgram(Program):
    def __init__(self):
        self.shape = Shape(1, 1, 1, 1)

    def run(self, batch):
        return GoodPending()


class GoodModel(LoadedModel):
    def block_bytes(self, layout):
        return ()

    def workspace(self, shape):
        return 0

    def allocate(self, layout, num_blocks):
        pass

    def compile(self, shape):
        return GoodProgram()

    def copy_blocks(self, group, sources, targets):
        pass

    def close(self):
        pass


class GoodDevice(Device):
    capabilities = CAN

    def memory(self):
        return Memory(1, 1, 1, host=True)

    def supports(self, graph):
        return ()

    def load(self, graph, weights):
        return GoodModel()

    def close(self):
        pass


class GoodPlatform(Platform):
    name = "good"

    def probe(self):
        return []

    def open(self, devices):
        return GoodDevice()


GOOD = [
    (Platform, GoodPlatform),
    (Device, GoodDevice),
    (LoadedModel, GoodModel),
    (Program, GoodProgram),
    (Pending, GoodPending),
]


def changed(base: type, **members) -> type:
    return type(f"My{base.__name__}", (base,), members)


@pytest.mark.parametrize(("kind", "made"), GOOD)
def test_what_keeps_to_the_contract_is_taken(kind: type, made: type):
    check_class(kind, made, "good")
    thing = made()
    assert check(thing, kind, "good") is thing


PRIVATE = {"_own": 1, "__doc__": "own"}


@pytest.mark.parametrize(("kind", "made"), GOOD)
def test_private_names_are_the_plugins_own(kind: type, made: type):
    assert problems_of_class(kind, changed(made, **PRIVATE)) == []


STRANGERS = [
    (Platform, GoodPlatform, "probes", "did you mean probe?"),
    (Platform, GoodPlatform, "ranks", "did you mean rank?"),
    (Device, GoodDevice, "support", "did you mean supports?"),
    (Device, GoodDevice, "vendor_hook", "begin with an underscore"),
    (LoadedModel, GoodModel, "copyblocks", "did you mean copy_blocks?"),
    (LoadedModel, GoodModel, "read_block", "did you mean read_blocks?"),
    (Program, GoodProgram, "shapes", "did you mean shape?"),
    (Pending, GoodPending, "is_done", "did you mean done?"),
]


@pytest.mark.parametrize(("kind", "made", "name", "hint"), STRANGERS)
def test_an_unknown_public_name_is_refused(kind: type, made: type, name: str, hint: str):
    with pytest.raises(PlatformBroken, match="platform acme") as error:
        check_class(kind, changed(made, **{name: lambda self: None}), "acme")
    assert f"My{made.__name__}.{name} is not in the contract" in str(error.value)
    assert hint in str(error.value)


@pytest.mark.parametrize(("kind", "made", "name", "hint"), STRANGERS)
def test_an_unknown_attribute_of_an_object_is_refused_too(kind, made, name, hint):
    class Made(made):
        def __init__(self):
            super().__init__()
            setattr(self, name, 1)

    assert problems_of_class(kind, Made) == []
    with pytest.raises(PlatformBroken, match=f"Made.{name} is not in the contract"):
        check(Made(), kind, "acme")


MEMBERS = [
    (kind, made, name)
    for kind, made in GOOD
    for name in sorted(kind.__abstractmethods__)  # type: ignore[attr-defined]
]


@pytest.mark.parametrize(("kind", "made", "name"), MEMBERS)
def test_a_missing_member_is_named_with_its_signature(kind: type, made: type, name: str):
    members = {key: value for key, value in vars(made).items() if key != name}
    problems = problems_of_class(kind, type("Lacking", (kind,), members))
    assert len(problems) == 1
    assert problems[0].startswith(f"Lacking lacks {name}; the contract has {name}(")


@pytest.mark.parametrize(("kind", "made", "name"), MEMBERS)
def test_a_changed_signature_is_named_with_the_expected_one(kind: type, made: type, name: str):
    def other(self, something, *, more=1):
        pass

    problems = problems_of_class(kind, changed(made, **{name: other}))
    assert len(problems) == 1
    assert f"My{made.__name__}.{name} is {name}(something, *, more=1)" in problems[0]
    assert f"the contract has {name}(" in problems[0]


def sample_without_default(self, rows, columns, late):
    pass


def sample_with_another_default(self, rows, columns, late=()):
    pass


def sample_by_keyword(self, rows, columns, *, late=None):
    pass


def sample_with_more(self, rows, columns, late=None, temperature=1.0):
    pass


def sample_renamed(self, rows, cols, late=None):
    pass


async def sample_later(self, rows, columns, late=None):
    pass


@pytest.mark.parametrize(
    "sample",
    [
        sample_without_default,
        sample_with_another_default,
        sample_by_keyword,
        sample_with_more,
        sample_renamed,
        sample_later,
        7,
    ],
)
def test_any_difference_in_a_signature_counts(sample):
    problems = problems_of_class(Pending, changed(GoodPending, sample=sample))
    expected = "sample(rows: I32, columns: SamplingColumns, late: LateEdits | None = None)"
    assert len(problems) == 1 and expected in problems[0]


def test_all_problems_are_told_at_once():
    made = changed(GoodModel, copyblocks=print, workspace=lambda self: 0, close=None)
    with pytest.raises(PlatformBroken) as error:
        check_class(LoadedModel, made, "acme")
    assert all(name in str(error.value) for name in ("copyblocks", "workspace", "close is no"))


def test_an_attribute_must_not_be_a_method():
    problems = problems_of_class(Device, changed(GoodDevice, capabilities=lambda self: CAN))
    assert problems == [
        "MyGoodDevice.capabilities is a method; the contract has an attribute capabilities"
    ]


def test_a_property_is_an_attribute():
    made = changed(GoodDevice, capabilities=property(lambda self: CAN))
    assert check(made(), Device, "acme").capabilities is CAN


def test_an_attribute_that_is_not_there_or_of_another_type_is_refused():
    class Shapeless(Program):
        def run(self, batch):
            return GoodPending()

    with pytest.raises(PlatformBroken, match="Shapeless lacks an attribute shape"):
        check(Shapeless(), Program, "acme")
    with pytest.raises(PlatformBroken, match="capabilities is a dict, not a Capabilities"):
        check(changed(GoodDevice, capabilities={})(), Device, "acme")


def test_what_is_no_subclass_is_refused():
    with pytest.raises(PlatformBroken, match=r"not a subclass of dovetail\.platform\.Device"):
        check(object(), Device, "acme")  # type: ignore[type-var]


def test_optional_members_come_together():
    def read_blocks(self, group, blocks, out):
        return Ready(None)

    def write_blocks(self, group, blocks, data):
        return Ready(None)

    part = changed(GoodModel, read_blocks=read_blocks)
    with pytest.raises(PlatformBroken, match="part of BlockTransfer") as error:
        check(part(), LoadedModel, "acme")
    assert "write_blocks(group: int" in str(error.value) and "block_format" in str(error.value)
    whole = changed(part, write_blocks=write_blocks, block_format="bytes")
    assert isinstance(check(whole(), LoadedModel, "acme"), BlockTransfer)


def opens_with(*options: object) -> type:
    def open_with(self, devices, options):
        return GoodDevice()

    return changed(GoodPlatform, options=options, open_with=open_with)


WORD = DeviceOption(name="clock", help="", default="high", values=("low", "high"))
WHOLE = DeviceOption(name="threads", help="", default="all", low=1, high=64)


def test_options_come_with_the_call_that_takes_them():
    with pytest.raises(PlatformBroken, match=r"lacks open_with\(devices"):
        check(changed(GoodPlatform, options=(WORD,))(), Platform, "acme")
    assert isinstance(check(opens_with(WORD, WHOLE)(), Platform, "acme"), Configurable)


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        (WORD, "clock is declared twice"),
        ("clock", "'clock' is no DeviceOption"),
        (DeviceOption(name="Clock", help="", default="", low=0, high=1), "no name of"),
        (DeviceOption(name="rate", help="", default="", low=2, high=1), "rate takes no value"),
    ],
)
def test_options_that_mean_nothing_are_refused(option: object, problem: str):
    with pytest.raises(PlatformBroken, match=problem):
        check(opens_with(WORD, option)(), Platform, "acme")


def test_a_class_is_looked_at_once():
    made = changed(GoodModel)
    check(made(), LoadedModel, "acme")
    made.extra = 1  # type: ignore[attr-defined]
    check(made(), LoadedModel, "acme")


def test_the_first_step_shows_its_pending_and_later_ones_are_the_plugins_own():
    program = GoodProgram()
    watched = Watched(program, "acme")
    assert isinstance(watched.run(None), GoodPending)  # type: ignore[arg-type]
    assert watched.run == program.run and watched.shape is program.shape


def test_a_wrong_pending_is_refused_at_the_first_step():
    class Steps(GoodProgram):
        def run(self, batch):
            return changed(GoodPending, stop=print)()

    with pytest.raises(PlatformBroken, match="MyGoodPending.stop"):
        Watched(Steps(), "acme").run(None)  # type: ignore[arg-type]


INCOHERENT = [
    ({"compute_dtypes": ()}, "compute_dtypes is empty"),
    ({"steps_in_flight": 0}, "at least 1"),
    ({"features": (Feature("dtype:f32", "unsupported", "slow"),)}, "unsupported and on its list"),
    ({"features": (Feature("dtype:f16", "supported", "new"),)}, "supported and not on its list"),
    ({"features": (Feature("cache:u8", "unverified", "new"),)}, "unverified and not on its list"),
    ({"features": (Feature("dtype:f32", "supported", ""),)}, "no reason"),
    ({"features": (Feature("dtype:f32", "supported", "seen"),) * 2}, "declared twice"),
]


@pytest.mark.parametrize(("fields", "problem"), INCOHERENT)
def test_capabilities_that_contradict_themselves_are_refused(fields: dict, problem: str):
    given = {name: getattr(CAN, name) for name in CAN.__dataclass_fields__} | fields
    made = changed(GoodDevice, capabilities=Capabilities(**given))
    with pytest.raises(PlatformBroken, match=problem):
        check(made(), Device, "acme")


INSTALLED = sorted(
    (entry.name, device.id)
    for entry in discover()
    for device in entry.usable
    if entry.distribution.startswith("dovetail")
)


@pytest.mark.parametrize(("name", "device"), INSTALLED)
def test_platforms_of_this_tree_get_no_other_treatment(name: str, device: str):
    chosen = select(f"{name}:{device}")
    assert problems_of_class(Platform, type(chosen.platform)) == []
    opened = open_device(chosen)
    try:
        assert problems_of_class(Device, type(opened)) == []
        assert opened.capabilities.incoherent() == ()
        assert np.isfinite(opened.memory().total)
    finally:
        opened.close()
