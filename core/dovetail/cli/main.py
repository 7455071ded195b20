"""Entry point: parses the command line, runs a command, and turns errors into one line and an exit status.

Status: 0 done, 1 it did not work, 2 the command line is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from dovetail import __version__
from dovetail.errors import DovetailError

from .options import ENGINE, LOG_LEVEL, SERVER, Option
from .settings import suggestion

COMMANDS = {
    "serve": "serve a model over HTTP, OpenAI-compatible",
    "generate": "complete one prompt",
    "chat": "talk to a model, or to a server",
    "bench": "measure a model or a server under load",
    "platforms": "list platforms and devices, or why they cannot be used",
    "explain": "show what runs each node of a model, and why",
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


COMMANDS = available(COMMANDS)


class Parser(argparse.ArgumentParser):
    """One-line errors with a suggestion; help that fits a screen."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **options,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(
                prog, max_help_position=34, width=100
            ),
        )

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except DovetailError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if logging.getLogger("dovetail").isEnabledFor(logging.DEBUG):
            raise
        return _fail(
            f"unexpected {type(error).__name__}: {error}; this is a mistake in dovetail "
            "(--log-level debug shows where)"
        )


def _fail(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 1


def _run(arguments: list[str]) -> int:
    top = _top_parser()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        top.print_help()
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(f"dovetail {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        kind = "option" if name.startswith("-") else "command"
        top.error(f"there is no {kind} {name!r}{suggestion(name, COMMANDS)}")
    parser = Parser(prog=f"dovetail {name}", description=COMMANDS[name].capitalize() + ".")
    command = importlib.import_module(f".{name}", __package__)
    command.add_arguments(parser)
    parser.shorten_usage()
    given, unknown = parser.parse_known_args(arguments[1:])
    for word in unknown:
        known = suggestion(word.partition("=")[0], parser.flags())
        parser.error(
            f"there is no {word!r} here{known}"
            if word[:1] == "-"
            else f"{word!r} is one word too many"
        )
    _log_to_stderr(getattr(given, "log_level", None) or os.environ.get(LOG_LEVEL.variable))
    status: int = command.run(given)
    return status


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


def _log_to_stderr(level: str | None) -> None:
    logging.basicConfig(
        level=getattr(logging, (level or "warning").upper(), logging.WARNING),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )


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
    _add(group, ENGINE)
    _add(group, (LOG_LEVEL,))
    group.add_argument("--config", metavar="FILE", help="settings as TOML")


def add_server(parser: Parser) -> None:
    """Settings of the HTTP server."""
    _add(parser.add_argument_group("server"), SERVER)


def add_probing(parser: Parser) -> None:
    """How long plugins may take to look for devices, and --config, which can say it too."""
    group = parser.add_argument_group("engine")
    _add(group, [option for option in ENGINE if option.name == "probe_timeout_s"])
    group.add_argument("--config", metavar="FILE", help="settings as TOML")


def _add(group: argparse._ArgumentGroup, options: Sequence[Option]) -> None:
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
            type=_typed(option),
            action="append" if option.many else "store",
            metavar=option.metavar,
            help=option.help,
        )


def _typed(option: Option) -> Any:
    def parse(text: str) -> Any:
        try:
            return option.parse(text)
        except ValueError as error:
            reason = str(error)
            if reason.startswith(("invalid literal", "could not convert")):
                reason = "it must be a number"
            raise argparse.ArgumentTypeError(f"{text!r} cannot be used: {reason}") from None

    return parse


def flags_of(given: argparse.Namespace) -> dict[str, Any]:
    """The flags that were given, as settings.merge takes them."""
    flags = {name: value for name, value in vars(given).items() if value is not None}
    flags = {name: tuple(v) if isinstance(v, list) else v for name, v in flags.items()}
    if "model_flag" in flags:
        flags["model"] = flags.pop("model_flag")
    return flags


if __name__ == "__main__":
    sys.exit(main())
