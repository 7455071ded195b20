"""The parser of a command, and the flags that commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .options import ENGINE, LOGGING, SERVER, Option
from .values import reason


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
        self._rare: list[tuple[argparse.Action, str]] = []

    def hide(self, action: argparse.Action) -> None:
        """Leave a flag to --help-all."""
        if not self._rare:
            self.add_argument("--help-all", action=_HelpAll, help=argparse.SUPPRESS)
            self.epilog = f"{self.prog} --help-all lists the settings that few need, too."
        self._rare.append((action, action.help or ""))
        action.help = argparse.SUPPRESS

    def show_all(self) -> None:
        """Show what was hidden."""
        for action, text in self._rare:
            action.help = text
        self.epilog = None

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


class _HelpAll(argparse.Action):
    """--help-all: the help with every flag."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "nargs": 0})

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, flag: str | None = None
    ) -> NoReturn:
        assert isinstance(parser, Parser)
        parser.show_all()
        parser.print_help()
        parser.exit()


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
    add_options(group, ENGINE, parser)
    add_options(group, LOGGING, parser)
    group.add_argument("--config", metavar="FILE", help="settings as TOML")


def add_server(parser: Parser) -> None:
    """Settings of the HTTP server."""
    add_options(parser.add_argument_group("server"), SERVER, parser)


def add_probing(parser: Parser) -> None:
    """How long plugins may take to look for devices, and --config, which can say it too."""
    group = parser.add_argument_group("engine")
    add_options(group, [option for option in ENGINE if option.name == "probe_timeout_s"])
    group.add_argument("--config", metavar="FILE", help="settings as TOML")


def add_options(
    group: argparse._ArgumentGroup, options: Sequence[Option], parser: Parser | None = None
) -> None:
    """Flags of these settings; those that few need are left to the parser's --help-all, if one is given."""
    for option in options:
        action = _add_option(group, option)
        if parser is not None and option.rare:
            parser.hide(action)


def _add_option(group: argparse._ArgumentGroup, option: Option) -> argparse.Action:
    if option.switch is not None:
        return group.add_argument(
            option.flag,
            dest=option.name,
            action="store_const",
            const=option.switch,
            help=option.help,
        )
    return group.add_argument(
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
