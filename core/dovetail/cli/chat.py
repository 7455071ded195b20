"""dovetail chat: a conversation at the terminal. Ctrl-C ends the reply, not the program."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator
from typing import Any, cast

from dovetail.errors import EngineError, RequestError

from .generate import add_sampling, sampling_of
from .options import API_KEY
from .parser import Parser, add_engine, add_model, typed
from .settings import Settings
from .sources import Source, open_source

HELP = """\
/clear          forget the conversation
/system TEXT    set the system message and start over
/retry          another reply to the last message
/exit           leave (also Ctrl-D)
Ctrl-C ends a reply that is being written."""


def add_arguments(parser: Parser) -> None:
    """MODEL or URL, sampling and engine."""
    add_model(
        parser, positional=True, text="directory, hub id, demo (the default), or a server's URL"
    )
    parser.add_argument("--system", metavar="TEXT", help="system message")
    parser.add_argument(
        "--api-key", type=typed(API_KEY.parse), action="append", metavar="KEY", help="for a server"
    )
    add_sampling(parser)
    add_engine(parser)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Read messages and answer them until /exit or the end of input."""
    key = next(iter(settings.server.api_key), None)
    config = settings.engine
    with asyncio.Runner() as runner:
        source = runner.run(open_source(config.model, config, api_key=key))
        try:
            Conversation(runner, source, sampling_of(given), given.system).run()
        finally:
            runner.run(source.close())
    return 0


class Conversation:
    """The messages so far, and the loop that adds to them."""

    def __init__(
        self,
        runner: asyncio.Runner,
        source: Source,
        options: dict[str, Any],
        system: str | None = None,
    ) -> None:
        self._runner = runner
        self._source = source
        self._options = options
        self._system = system
        self.messages: list[dict[str, str]] = []
        self.clear()

    def clear(self) -> None:
        """Start over."""
        self.messages = [{"role": "system", "content": self._system}] if self._system else []

    def run(self) -> None:
        """Until /exit or the end of input."""
        terminal = sys.stdin.isatty()
        if terminal:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401  # line editing and history for input()
            print(f"talking to {self._source.name}; /help tells the commands")
        while True:
            try:
                line = input("> " if terminal else "").strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                print("  (/exit leaves)")
                continue
            if line in ("/exit", "/quit"):
                return
            if line:
                self._take(line)

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "/help":
            print(HELP)
        elif word == "/clear":
            self.clear()
        elif word == "/system":
            self._system = rest.strip() or None
            self.clear()
        elif word == "/retry":
            if self.messages and self.messages[-1]["role"] == "assistant":
                self.messages.pop()
                self._answer()
            else:
                print("there is no reply to repeat")
        elif word.startswith("/"):
            print(f"there is no command {word}; /help tells them")
        else:
            self.messages.append({"role": "user", "content": line})
            self._answer()

    def _answer(self) -> None:
        """Write the reply; what was written before Ctrl-C stays in the conversation."""
        parts: list[str] = []
        try:
            self._runner.run(self._print(parts))
        except KeyboardInterrupt:
            print(" (stopped)", end="")
        except (RequestError, EngineError) as error:
            print(f"error: {error}", file=sys.stderr)
        print()
        if parts:
            self.messages.append({"role": "assistant", "content": "".join(parts)})
        elif self.messages[-1]["role"] == "user":
            self.messages.pop()

    async def _print(self, parts: list[str]) -> None:
        pieces = cast("AsyncGenerator[str, None]", self._source.chat(self.messages, self._options))
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                parts.append(piece)
                print(piece, end="", flush=True)
