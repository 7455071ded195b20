"""Settings from flags, environment (DOVETAIL_*) and a TOML file, in this order of precedence."""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dovetail.config import EngineConfig
from dovetail.errors import ConfigError
from dovetail.server.serve import ServerConfig

from .options import DTYPES, ENGINE, LOGGING, MODEL, SERVER, Option

PREFIX = "DOVETAIL_"
CONFIG_VARIABLE = "DOVETAIL_CONFIG"
ALL = {option.name: option for option in (MODEL, *ENGINE, *SERVER, *LOGGING)}
T = TypeVar("T", EngineConfig, ServerConfig)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was set, and the rest at its default."""

    engine: EngineConfig
    server: ServerConfig
    log_level: str
    log_format: str


def merge(flags: Mapping[str, Any], *, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings that hold. Raises ConfigError that names the flag, variable or key at fault.

    flags  name -> value, for those that were given; "config" names a file
    """
    environment = os.environ if environment is None else environment
    path = flags.get("config") or environment.get(CONFIG_VARIABLE)
    values = from_file(Path(path)) if path else {}
    values |= from_environment(environment)
    values |= {name: value for name, value in flags.items() if name in ALL and value is not None}
    if "dtype" in values:
        values["dtype"] = DTYPES.get(values["dtype"], values["dtype"])
    return Settings(
        _fill(EngineConfig, values),
        _fill(ServerConfig, values),
        values.get("log_level", "warning"),
        values.get("log_format", "text"),
    )


def _fill(kind: type[T], values: Mapping[str, Any]) -> T:
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in names})


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Values of DOVETAIL_* variables; warns about one that means nothing."""
    values = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        option = ALL.get(variable.removeprefix(PREFIX).lower())
        if option is None:
            known = [o.variable for o in ALL.values()]
            print(
                f"warning: {variable} is no setting{suggestion(variable, known)}", file=sys.stderr
            )
        else:
            values[option.name] = option.read(text, variable)
    return values


def from_file(path: Path) -> dict[str, Any]:
    """Values of a TOML file: the flags' names as keys, with - or _."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    values = {}
    for key, value in table.items():
        option = ALL.get(key.replace("-", "_"))
        if option is None:
            known = [o.name.replace("_", "-") for o in ALL.values()]
            raise ConfigError(f"{path}: {key!r} is no setting{suggestion(key, known)}")
        values[option.name] = _from_toml(option, value, f"{path}: {key}")
    return values


def _from_toml(option: Option, value: Any, origin: str) -> Any:
    if option.many and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(option.one(text, origin) for text in value)
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int | float):
        raise ConfigError(f"{origin} is a {type(value).__name__}; it must be one value")
    return option.read(str(value), origin)


def suggestion(word: str, known: Iterable[str]) -> str:
    """ " (did you mean ...?)" for a word that is close to a known one, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""
