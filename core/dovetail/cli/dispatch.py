"""From the words of a command line to a command that is ready to run."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from types import ModuleType

from dovetail import __version__
from dovetail.errors import ConfigError
from dovetail.logs import start_logging

from .parser import Parser, flags_of
from .settings import Settings, merge, suggestion

KNOWN = {
    "serve": "serve a model over HTTP, OpenAI-compatible",
    "generate": "complete one prompt",
    "chat": "talk to a model, or to a server",
    "bench": "measure a model or a server under load",
    "platforms": "list platforms and devices, or why they cannot be used",
    "explain": "show what runs each node of a model, and why",
    "plan": "tell what a model needs and how fast it will be here",
    "doctor": "tell the whole story of this installation",
    "conformance": "test a platform against the contract",
    "plugin": "make a new platform plugin",
}


def available(commands: Mapping[str, str]) -> dict[str, str]:
    """Those whose module is there."""
    return {
        name: text
        for name, text in commands.items()
        if importlib.util.find_spec(f"{__package__}.{name}") is not None
    }


COMMANDS = available(KNOWN)


def prepare(arguments: list[str]) -> Callable[[], int]:
    """What runs a command line and returns the exit status. Ends the program where the line is wrong."""
    top = _top_parser()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        top.print_help()
        return lambda: 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(f"dovetail {__version__}")
        return lambda: 0
    name = arguments[0]
    if name not in COMMANDS:
        kind = "option" if name.startswith("-") else "command"
        top.error(f"there is no {kind} {name!r}{suggestion(name, COMMANDS)}")
    command = importlib.import_module(f".{name}", __package__)
    given = _parsed(name, command, arguments[1:])
    return lambda: _run(command, given)


def _parsed(name: str, command: ModuleType, words: list[str]) -> argparse.Namespace:
    does = COMMANDS[name]
    parser = Parser(prog=f"dovetail {name}", description=f"{does[0].upper()}{does[1:]}.")
    command.add_arguments(parser)
    parser.shorten_usage()
    given, unknown = parser.parse_known_args(words)
    for word in unknown:
        known = suggestion(word.partition("=")[0], parser.flags())
        parser.error(
            f"there is no {word!r} here{known}"
            if word[:1] == "-"
            else f"{word!r} is one word too many"
        )
    return given


def _run(command: ModuleType, given: argparse.Namespace) -> int:
    settings = _settings(command, given)
    start_logging(settings.log_level.upper(), settings.log_format)
    status: int = command.run(given, settings)
    return status


def _settings(command: ModuleType, given: argparse.Namespace) -> Settings:
    """What flags, environment and file say; the defaults for a command that runs even where they are wrong."""
    try:
        return merge(flags_of(given))
    except ConfigError:
        if not getattr(command, "RUNS_ANYWAY", False):
            raise
        return merge({}, environment={})


def _top_parser() -> Parser:
    parser = Parser(
        prog="dovetail",
        usage="dovetail COMMAND [...]",
        description="A hardware-neutral LLM inference engine. Commands:",
        epilog="dovetail COMMAND --help tells more. Every setting is also a variable DOVETAIL_* and a key of --config FILE.",
    )
    commands = parser.add_argument_group("commands")
    for name, text in COMMANDS.items():
        commands.add_argument(name, help=text, nargs="?")
    parser.add_argument("-V", "--version", action="store_true", help="print the version")
    return parser
