"""Text that comes in pieces, read by a generator: a bare `yield` waits for more.

Each character is looked at a bounded number of times: what is consumed is never read again, and what waits for more is at
most as long as the longest literal that is looked for. What has been consumed since `mark` can still be given back as text
(`journal`), until `settle` makes it certain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Reading: TypeAlias = Generator[None, None, T]
SPACE = " \t\r\n"
MAX_NAME = 256
_NOT_SPACE = re.compile(r"[^ \t\r\n]")


class NoCall(Exception):
    """What looked like a call is none."""


class Enough(Exception):
    """The one call that was wanted is over."""


class Markers:
    """Literals to be found in text that comes in pieces; of those that begin at one place the longest."""

    __slots__ = ("_literals", "_longest", "pattern")

    def __init__(self, literals: Sequence[str]) -> None:
        self._literals = tuple(sorted(literals, key=len, reverse=True))
        self._longest = len(self._literals[0]) if literals else 0
        self.pattern = re.compile("|".join(map(re.escape, self._literals)) if literals else "(?!)")

    def begun(self, text: str, start: int) -> int:
        """Length of the longest end of text[start:] that a literal goes on from."""
        for at in range(max(start, len(text) - self._longest + 1), len(text)):
            end = text[at:]
            if any(literal.startswith(end) for literal in self._literals):
                return len(end)
        return 0


class Source:
    """What has come and is not consumed yet."""

    __slots__ = ("_journal", "at", "ended", "text")

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.ended = False
        self._journal: list[str] | None = None

    def add(self, text: str) -> None:
        """More has come."""
        self.text = self.text[self.at :] + text
        self.at = 0

    def mark(self, consumed: str = "") -> None:
        """From here on, remember what is consumed; `consumed` was just before."""
        self._journal = [consumed]

    def settle(self) -> None:
        """What was consumed is what it looked like."""
        self._journal = None

    def journal(self) -> str:
        """What was consumed since the mark, to be given back."""
        text, self._journal = "".join(self._journal or ()), None
        return text

    def consume(self, end: int) -> str:
        """Everything up to a place in `text`."""
        text = self.text[self.at : end]
        self.at = end
        if self._journal is not None:
            self._journal.append(text)
        return text

    def back(self, count: int) -> None:
        """Take back the last characters of what was just consumed."""
        self.at -= count
        if self._journal is not None:
            self._journal[-1] = self._journal[-1][:-count]

    def more(self) -> Reading[bool]:
        """Whether there is another character."""
        while self.at >= len(self.text):
            if self.ended:
                return False
            yield
        return True

    def peek(self) -> Reading[str]:
        """The next character, left where it is; empty at the end."""
        found = yield from self.more()
        return self.text[self.at] if found else ""

    def space(self) -> Reading[None]:
        """Consume white space."""
        while (yield from self.more()):
            found = _NOT_SPACE.search(self.text, self.at)
            self.consume(found.start() if found else len(self.text))
            if found:
                return

    def sees(self, literal: str) -> Reading[bool]:
        """Whether a literal comes next; it is left where it is."""
        while True:
            if self.text.startswith(literal, self.at):
                return True
            held = self.text[self.at : self.at + len(literal)]
            if self.ended or not literal.startswith(held):
                return False
            yield

    def takes(self, literal: str) -> Reading[bool]:
        """Consume a literal if it comes next."""
        found = yield from self.sees(literal)
        if found:
            self.consume(self.at + len(literal))
        return found

    def expect(self, literal: str) -> Reading[None]:
        """Consume a literal; raises NoCall if something else comes."""
        if not (yield from self.takes(literal)):
            raise NoCall

    def pass_until(self, markers: Markers, emit: Callable[[str], object]) -> Reading[str]:
        """Hand text on up to the first marker, consume that and return it; empty at the end."""
        while True:
            found = markers.pattern.search(self.text, self.at)
            if found is not None:
                emit(self.consume(found.start()))
                return self.consume(found.end())
            held = 0 if self.ended else markers.begun(self.text, self.at)
            if self.at < len(self.text) - held:
                emit(self.consume(len(self.text) - held))
            if self.ended:
                return ""
            yield

    def read_until(self, markers: Markers, *, most: int | None = None) -> Reading[tuple[str, str]]:
        """Text up to the first marker, and the marker; raises NoCall at the end or beyond `most` characters."""
        parts: list[str] = []
        size = 0

        def keep(text: str) -> None:
            nonlocal size
            parts.append(text)
            size += len(text)
            if most is not None and size > most:
                raise NoCall

        marker = yield from self.pass_until(markers, keep)
        if not marker:
            raise NoCall
        return "".join(parts), marker

    def match(self, pattern: re.Pattern[str]) -> Reading[str]:
        """The longest run of characters that a pattern of one character matches, `[...]+`; it may be empty."""
        parts: list[str] = []
        while (yield from self.more()):
            found = pattern.match(self.text, self.at)
            if found is None:
                break
            parts.append(self.consume(found.end()))
            if self.at < len(self.text):
                break
        return "".join(parts)
