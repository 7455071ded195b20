"""dovetail doctor: what is installed, what was found, what would be used, and why."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from dovetail.config import EngineConfig
from dovetail.errors import ConfigError, PlatformError
from dovetail.plugins import Found, choices, discover
from dovetail.registration import accepted_contracts

from .masking import is_secret, masked, secrets_in
from .parser import Parser, add_probing, flags_of
from .platforms import fields, print_found
from .settings import CONFIG_VARIABLE, Settings, merge

RUNS_ANYWAY = True  # broken settings are part of the story
VARIABLES = re.compile(r"(DOVETAIL|HF|HUGGING_FACE|OMP|OTEL|HTTPS?|NO)_\w+", re.IGNORECASE)
REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*")


def add_arguments(parser: Parser) -> None:
    """--json and how long to wait for a plugin."""
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_probing(parser)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Print it; status 1 where `dovetail serve` would find no platform to use."""
    held, problem = _settings(given)
    config = held.engine
    found = discover(timeout_s=config.probe_timeout_s)
    chosen, refusal = _chosen(config, found)
    story = {
        "versions": versions(found),
        "contracts": list(accepted_contracts()),
        "machine": machine(),
        "platforms": [fields(entry) for entry in found],
        "chosen": chosen,
        "problems": [text for text in (problem, refusal) if text is not None],
        "settings": changed(held),
        "environment": environment(os.environ),
    }
    secrets = _secrets(given)
    if given.json:
        print(json.dumps(masked(story, secrets), indent=2))
    else:
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            _print(story, found)
        print(masked(shown.getvalue(), secrets), end="")
    return 0 if chosen is not None else 1


def _settings(given: argparse.Namespace) -> tuple[Settings, str | None]:
    """The settings that hold, or the defaults and what is wrong with them."""
    try:
        return merge(flags_of(given)), None
    except ConfigError as error:
        return merge({}, environment={}), str(error)


def _secrets(given: argparse.Namespace) -> set[str]:
    """What must not be shown, wherever it stands."""
    path = flags_of(given).get("config") or os.environ.get(CONFIG_VARIABLE)
    return secrets_in(os.environ, Path(path) if path else None)


def changed(settings: Settings) -> dict[str, Any]:
    """Settings that are not at their defaults; of keys, that they are set."""
    shown = {}
    for config in (settings.engine, settings.server):
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if value != field.default:
                shown[field.name] = "(set)" if is_secret(field.name) else value
    return shown


def _chosen(config: EngineConfig, found: list[Found]) -> tuple[dict[str, str] | None, str | None]:
    """What `serve` would use, or why nothing."""
    try:
        best = choices(config.platform, found, members=config.tensor_parallel_size)[0]
    except (PlatformError, ConfigError) as error:
        return None, str(error)
    return {"device": str(best), "reason": best.reason}, None


def versions(found: list[Found]) -> dict[str, str]:
    """Python, the distributions of Dovetail and its plugins, and what they need; "missing" where that is not there."""
    ours = dict.fromkeys(["dovetail", "dovetail-sdk", *(entry.distribution for entry in found)])
    needed = sorted({name for each in ours for name in _requirements(each)} - ours.keys())
    return {"python": platform.python_version()} | {
        name: _version(name) for name in [*ours, *needed]
    }


def _requirements(distribution: str) -> list[str]:
    """What a distribution needs without extras, as it is written in its metadata."""
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    found = [REQUIREMENT.match(line) for line in lines if "extra ==" not in line]
    return [match[0] for match in found if match is not None]


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "missing"


def machine() -> dict[str, Any]:
    """Operating system, processor and memory, as far as Python can tell."""
    return {
        "system": platform.platform(),
        "python": sys.executable,
        "processor": _processor(),
        "logical_cpus": os.cpu_count(),
        "usable_cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_bytes": _memory(),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:  # not Linux
        text = ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # the system does not say
        return None


def environment(variables: Any) -> dict[str, str]:
    """Variables that change what happens; the values of keys and tokens are not shown."""
    return {
        name: "(set)" if is_secret(name) else value
        for name, value in sorted(variables.items())
        if VARIABLES.fullmatch(name)
    }


def _print(story: dict[str, Any], found: list[Found]) -> None:
    _section("versions", story["versions"])
    memory = story["machine"]["memory_bytes"]
    shown = story["machine"] | {"memory_bytes": f"{memory / (1 << 30):.1f} GiB" if memory else "?"}
    _section("machine", shown)
    accepted = " and ".join(map(str, story["contracts"]))
    print(f"platforms (this core takes contract {accepted})")
    for entry in found:
        print_found(entry)
        contract = f", contract {entry.platform.contract}" if entry.platform else ""
        print(f"  entry point {entry.target}{contract}, in {entry.file or 'no file'}")
    print()
    _section("settings", story["settings"] or {"all": "at their defaults"})
    _section("environment", story["environment"] or {"nothing": "is set"})
    if story["chosen"] is not None:
        print(f"chosen: {story['chosen']['device']} ({story['chosen']['reason']})")
    for problem in story["problems"]:
        print(f"problem: {problem}")


def _section(title: str, rows: dict[str, Any]) -> None:
    print(title)
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"  {name:{width}}  {value}")
    print()
