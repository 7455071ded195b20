"""What formats read is given to a writer, which makes parts of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from dovetail.text.parts import CallArguments, CallEnd, CallStart, Part, Reasoning, Text

from .source import Enough

PARAGRAPH = "\n\n"
Schemas: TypeAlias = Mapping[str, Mapping[str, Any]]  # tool -> JSON schema of its parameters


def call_id() -> str:
    """An id as OpenAI's look."""
    return f"call_{secrets.token_hex(12)}"


class Trimmed:
    """A run of text without the white space at its two ends; that at the end is held until more text comes."""

    __slots__ = ("_begun", "_hold", "_space")

    def __init__(self, *, begun: bool = False, hold: bool = True) -> None:
        """Begun: white space at the start counts. Hold: that at the end does not."""
        self._begun = begun
        self._hold = hold
        self._space: list[str] = []

    def push(self, text: str) -> str:
        """What is certain to be inside."""
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        if not self._hold:
            return text
        kept = text.rstrip()
        if not kept:
            self._space.append(text)
            return ""
        inside = "".join((*self._space, kept))
        self._space = [text[len(kept) :]]
        return inside

    def rest(self) -> str:
        """The white space held back."""
        text, self._space = "".join(self._space), []
        return text


class Writer:
    """Collects parts; adjacent pieces of a kind are joined.

    White space between reasoning, text and calls belongs to none of them.

    tools         those that were offered: name -> schema of the parameters
    num_calls     begun so far
    done          one call is over and no other is wanted
    is_reasoning  what comes is reasoning
    """

    def __init__(
        self,
        tools: Schemas,
        *,
        parallel: bool = True,
        separate: bool = True,
        hold: bool = True,
        new_id: Callable[[], str] = call_id,
    ) -> None:
        """What to write.

        parallel  more than one call is wanted
        separate  reasoning is a part of its own, else it is text like any other
        hold      calls may come: white space at the end of text waits for what follows
        """
        self.tools = tools
        self.num_calls = 0
        self.done = False
        self.is_reasoning = False
        self._parallel = parallel
        self._separate = separate
        self._hold = hold
        self._new_id = new_id
        self._parts: list[Part] = []
        self._kind: type[Text | Reasoning | CallArguments] | None = None
        self._run: list[str] = []  # pieces of the kind that is being written
        self._text = Trimmed(begun=True, hold=hold)
        self._thought = Trimmed()
        self._open = False
        self._gaps: dict[type, str] = {}  # what stands before the next piece of a kind
        self._written: set[type] = set()

    def take(self) -> list[Part]:
        """The parts since the last time."""
        self._seal()
        parts, self._parts = self._parts, []
        return parts

    def text(self, text: str) -> None:
        """More of the answer."""
        if text := self._text.push(text):
            self._add(Text, text)

    def reasoning(self, text: str) -> None:
        """More reasoning."""
        if not self._separate:
            self.text(text)
        elif text := self._thought.push(text):
            self._add(Reasoning, text)

    def think(self) -> None:
        """What comes is reasoning, a paragraph of its own if there was some."""
        self.is_reasoning = True
        if self._separate:
            self._thought = Trimmed()
            self._gaps[Reasoning] = PARAGRAPH
        else:
            self.answer()

    def answer(self) -> None:
        """What comes is the answer, a paragraph of its own if there was some."""
        self.is_reasoning = False
        self._text = Trimmed(hold=self._hold)
        self._gaps[Text] = PARAGRAPH

    def start(self, name: str, given_id: str | None = None) -> None:
        """A call is certain."""
        self._seal()
        self._text = Trimmed()
        self._parts.append(CallStart(self.num_calls, given_id or self._new_id(), name))
        self.num_calls += 1
        self._open = True

    def arguments(self, text: str) -> None:
        """More of the call's arguments."""
        if text:
            self._add(CallArguments, text)

    def end(self) -> None:
        """The call is over. Raises Enough if it was the one that is wanted."""
        if self._open:
            self._seal()
            self._parts.append(CallEnd(self.num_calls - 1))
            self._open = False
            self.done = not self._parallel
            if self.done:
                raise Enough

    def flush(self) -> None:
        """No more comes: white space at the end is text, unless it follows a call."""
        self.end()
        rest = self._text.rest()
        if rest and not self.num_calls:
            self._add(Text, rest)

    def _add(self, kind: type[Text | Reasoning | CallArguments], text: str) -> None:
        if kind is not self._kind:
            self._seal()
            self._kind = kind
        if self._gaps and (gap := self._gaps.pop(kind, "")) and kind in self._written:
            self._run.append(gap)
        self._written.add(kind)
        self._run.append(text)

    def _seal(self) -> None:
        """Make one part of the pieces of a kind."""
        if self._run:
            text = "".join(self._run)
            if self._kind is CallArguments:
                self._parts.append(CallArguments(self.num_calls - 1, text))
            else:
                self._parts.append(Text(text) if self._kind is Text else Reasoning(text))
        self._run, self._kind = [], None
