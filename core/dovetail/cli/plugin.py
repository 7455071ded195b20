"""dovetail plugin new"""

from __future__ import annotations

import argparse
import importlib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from dovetail.errors import ConfigError
from dovetail.plugins import GROUP

from .parser import Parser
from .settings import Settings


def add_arguments(parser: Parser) -> None:
    """new NAME, --directory."""
    parser.add_argument("action", metavar="new", choices=("new",), help="make a plugin")
    parser.add_argument("name", metavar="NAME", help="of the platform: --platform NAME")
    parser.add_argument(
        "--directory", metavar="DIR", default=".", help="where the project's folder goes (here)"
    )


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Write the distribution and say what to do next."""
    taken = [point.name for point in entry_points(group=GROUP)]
    project = _scaffold().create(given.name, Path(given.directory), taken=taken)
    print(
        f"wrote {project}\n\n"
        f'  pip install -e "{project}[test]"\n'
        f"  dovetail conformance {given.name}\n"
        f"  dovetail serve demo --platform {given.name}"
    )
    return 0


def _scaffold() -> Any:
    """The SDK's templates; ConfigError where the SDK is missing."""
    try:
        return importlib.import_module("dovetail_sdk.scaffold")
    except ModuleNotFoundError as error:
        if error.name not in ("dovetail_sdk", "dovetail_sdk.scaffold"):
            raise
        raise ConfigError(
            f"new plugins are made by the SDK, and there is no {error.name}; pip install dovetail-sdk"
        ) from None
