"""dovetail conformance"""

from __future__ import annotations

import argparse
import importlib
import re

from dovetail.errors import ConfigError

from .parser import Parser
from .settings import Settings

SUITE = "dovetail_sdk.conformance.command"
LAYERS = ("contract", "ops", "cache", "steps", "programs", "models", "serving")


def add_arguments(parser: Parser) -> None:
    """NAME and what to run."""
    parser.add_argument("platform", metavar="NAME", help="an installed platform, or NAME:device")
    parser.add_argument(
        "--ops", type=_pattern, metavar="RE", help="only checks about ops in which this is found"
    )
    parser.add_argument(
        "--layer",
        action="append",
        choices=LAYERS,
        metavar="LAYER",
        help=f"only this one; repeatable: {', '.join(LAYERS)}",
    )
    parser.add_argument(
        "--emulated", action="store_true", help="the device is emulated: say so in every output"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, as JSON")
    form.add_argument("--csv", action="store_true", help="the support matrix, as CSV")


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Test a platform; status 0 only if nothing failed."""
    try:
        command = importlib.import_module(SUITE)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "dovetail_sdk":
            raise
        raise ConfigError(
            "the conformance suite is in the package dovetail-sdk, which is not installed; "
            "install it with: pip install dovetail-sdk"
        ) from None
    status: int = command.run_command(given)
    return status


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text
