"""The parser of a command, and the flags that commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .options import ENGINE, LOG_LEVEL, SERVER, Option, reason


class Parser(argparse.ArgumentParser):
    """One-line errors with a suggestion; help that fits a screen."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **options,
            allow_abbrev=False,
            add_help=False,
            formatter_class=lambda prog: argparse.HelpFormatter(
                prog, max_help_position=34, width=100
            ),
        )
        # Not shown: who reads the help has found it.
        self.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)

    def error(self, message: str) -> NoReturn:
        """Status 2."""
        sys.stderr.write(f"error: {message}; see {self.prog} --help\n")
        raise SystemExit(2)

    def shorten_usage(self) -> None:
        """Name the words that are not flags; the groups below list the flags."""
        words = [a for a in self._actions if not a.option_strings]
        shown = [f"[{a.metavar}]" if a.nargs == "?" else str(a.metavar) for a in words]
        self.usage = " ".join([self.prog, *shown, "[options]"])

    def flags(self) -> list[str]:
        """All flags of this parser."""
        return [flag for action in self._actions for flag in action.option_strings]


def add_model(parser: Parser, *, positional: bool, text: str = "") -> None:
    """MODEL, as a word of its own or as --model."""
    text = text or "directory, hub id, or demo (the default)"
    if positional:
        parser.add_argument("model", nargs="?", metavar="MODEL", help=text)
    flag = argparse.SUPPRESS if positional else text
    parser.add_argument("--model", dest="model_flag", metavar="MODEL", help=flag)


def add_engine(parser: Parser) -> None:
    """Settings of the engine."""
    group = parser.add_argument_group("engine")
    add_options(group, ENGINE)
    add_options(group, (LOG_LEVEL,))
    group.add_argument("--config", metavar="FILE", help="settings as TOML")


def add_server(parser: Parser) -> None:
    """Settings of the HTTP server."""
    add_options(parser.add_argument_group("server"), SERVER)


def add_probing(parser: Parser) -> None:
    """How long plugins may take to look for devices, and --config, which can say it too."""
    group = parser.add_argument_group("engine")
    add_options(group, [option for option in ENGINE if option.name == "probe_timeout_s"])
    group.add_argument("--config", metavar="FILE", help="settings as TOML")


def add_options(group: argparse._ArgumentGroup, options: Sequence[Option]) -> None:
    """Flags of these settings."""
    for option in options:
        if option.switch is not None:
            group.add_argument(
                option.flag,
                dest=option.name,
                action="store_const",
                const=option.switch,
                help=option.help,
            )
            continue
        group.add_argument(
            option.flag,
            dest=option.name,
            type=typed(option.parse),
            action="append" if option.many else "store",
            metavar=option.metavar,
            help=option.help,
        )


def typed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A type for argparse that says what a wrong value must be."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} cannot be used: {reason(error)}") from None

    return read


def flags_of(given: argparse.Namespace) -> dict[str, Any]:
    """The flags that were given, as settings.merge takes them."""
    flags = {name: value for name, value in vars(given).items() if value is not None}
    flags = {name: tuple(v) if isinstance(v, list) else v for name, v in flags.items()}
    if "model_flag" in flags:
        flags["model"] = flags.pop("model_flag")
    return flags
