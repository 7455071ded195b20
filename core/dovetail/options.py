"""Settings of a platform's own: from "name=value" to what its `open_with` takes. What it declares decides."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from .config import EngineConfig
from .errors import ConfigError
from .platform import Configurable, DeviceOption, Platform

MOST_OPTIONS = 64
MOST_CHARACTERS = 256
FLAGS = ("threads", "precision")
"""Options that every platform which has them means the same by, with flags of their own."""


def given_options(config: EngineConfig) -> dict[str, str]:
    """The platform's settings as the user gave them, by name. Raises ConfigError."""
    given: dict[str, str] = {}
    if len(config.option) > MOST_OPTIONS:
        raise ConfigError(f"--option was given {len(config.option)} times; at most {MOST_OPTIONS}")
    for text in config.option:
        name, equals, value = text.partition("=")
        if not (equals and name and value) or len(text) > MOST_CHARACTERS:
            raise ConfigError(f"--option is {text[:80]!r}: it must be NAME=VALUE")
        _add(given, name, value)
    for name in FLAGS:
        value = getattr(config, name)
        if value is not None:
            _add(given, name, str(value))
    return given


def _add(given: dict[str, str], name: str, value: str) -> None:
    if given.get(name, value) != value:
        raise ConfigError(f"{name} was given as {given[name]} and as {value}; choose one")
    given[name] = value


def declared(platform: Platform) -> tuple[DeviceOption, ...]:
    """The settings a platform has; none where it is not Configurable."""
    return platform.options if isinstance(platform, Configurable) else ()


def check_options(platform: Platform, given: Mapping[str, str]) -> Mapping[str, str]:
    """What was given, if the platform takes it. Raises ConfigError with what it takes instead."""
    known = {option.name: option for option in declared(platform)}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(_unknown(platform, name, known))
        _check_value(known[name], value, platform.name)
    return given


def _unknown(platform: Platform, name: str, known: Iterable[str]) -> str:
    flag = f"--{name}" if name in FLAGS else f"--option {name}"
    names = ", ".join(known)
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    hint = f"; did you mean {close[0]}?" if close else ""
    return (
        f"{flag} was given and platform {platform.name} has no option {name!r} "
        f"(its options: {names or 'none'}){hint}; leave it out, or choose another platform"
    )


def _check_value(option: DeviceOption, value: str, platform: str) -> None:
    if option.values:
        if value in option.values:
            return
        wanted = f"one of {', '.join(option.values)}"
    else:
        whole = value.isascii() and value.isdigit() and len(value) < 20
        if whole and option.low <= int(value) <= option.high:
            return
        wanted = f"a whole number from {option.low} to {option.high}"
    raise ConfigError(f"{option.name} is {value!r}; for platform {platform} it must be {wanted}")
