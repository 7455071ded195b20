"""A platform's own settings: given by name, refused by what the platform declares, delivered as they are."""

from __future__ import annotations

import pytest
from dovetail.cli.settings import merge
from dovetail.config import EngineConfig
from dovetail.errors import ConfigError
from dovetail.options import given_options
from dovetail.platform import DeviceInfo, DeviceOption
from dovetail.plugins import Selection, open_device
from dovetail_sdk.null import NullPlatform


class Configured(NullPlatform):
    options = (
        DeviceOption(name="threads", help="that compute", default="all", low=1, high=64),
        DeviceOption(name="clock", help="of the unit", default="high", values=("low", "high")),
    )

    def open_with(self, devices, options):
        self._given = dict(options)
        return self.open(devices)


def opened(platform: NullPlatform, options: dict[str, str]) -> None:
    open_device(Selection(platform, (DeviceInfo(id="ahead1", description=""),), ""), options)


def test_flags_variables_and_file_reach_the_platform_as_given(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('option = ["clock=low"]\nthreads = 2')
    settings = merge({"threads": 3}, environment={"DOVETAIL_CONFIG": str(path)})
    options = given_options(settings.engine)
    assert options == {"clock": "low", "threads": "3"}
    platform = Configured()
    opened(platform, options)
    assert platform._given == options


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"threads": "0"}, "whole number from 1 to 64"),
        ({"threads": "65"}, "whole number from 1 to 64"),
        ({"threads": "two"}, "whole number from 1 to 64"),
        ({"threads": "9" * 5000}, "whole number from 1 to 64"),
        ({"clock": "High"}, "one of low, high"),
        ({"clok": "low"}, r"no option 'clok' \(its options: threads, clock\); did you mean clock"),
        ({"precision": "fast"}, "^--precision was given and platform null has no option"),
    ],
)
def test_what_the_platform_does_not_declare_is_refused_before_it_is_opened(
    options: dict[str, str], problem: str
):
    platform = Configured()
    with pytest.raises(ConfigError, match=problem):
        opened(platform, options)
    assert not hasattr(platform, "_given")


def test_a_platform_without_options_takes_none():
    opened(NullPlatform(), {})
    with pytest.raises(ConfigError, match=r"^--threads was given .*its options: none"):
        opened(NullPlatform(), {"threads": "1"})


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (EngineConfig(option=("threads",)), "NAME=VALUE"),
        (EngineConfig(option=("=1",)), "NAME=VALUE"),
        (EngineConfig(option=("a=" + "b" * 256,)), "NAME=VALUE"),
        (EngineConfig(option=("threads=1",), threads=2), "as 1 and as 2"),
        (EngineConfig(option=tuple(f"a{n}=1" for n in range(65))), "at most 64"),
    ],
)
def test_what_cannot_be_read_is_refused(config: EngineConfig, problem: str):
    with pytest.raises(ConfigError, match=problem):
        given_options(config)
