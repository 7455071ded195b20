"""What a reply says, in pieces as they become certain: plain text, reasoning, and calls of tools.

A model writes all of it as one text. A `Speech` knows how one family of models writes; its parsers take that text apart.
Whoever answers a client, in whatever dialect, sees parts alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol

from dovetail.structured import Grammar


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text for the reader."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Text that the model wrote to itself."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    """A call begins. Calls of a reply are numbered from 0, and one ends before the next begins."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of a call's arguments; those of a call, joined, are its JSON."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnd:
    """A call is complete."""

    index: int


Part = Text | Reasoning | CallStart | CallArguments | CallEnd


@dataclass(frozen=True, slots=True)
class Call:
    """A whole call; arguments is JSON."""

    id: str
    name: str
    arguments: str


Block = Text | Reasoning | Call


class Parser(Protocol):
    """Takes the text of one reply apart, however it is cut into pieces.

    reasoning  whether what comes next is read as reasoning, as far as is known
    done       the one call that was wanted is over: nothing that follows is read
    """

    @property
    def reasoning(self) -> bool: ...
    @property
    def done(self) -> bool: ...

    def push(self, text: str) -> Sequence[Part]:
        """What the new text makes certain."""

    def flush(self) -> Sequence[Part]:
        """What is left at the end; every call that has begun ends."""


class Speech(Protocol):
    """How a model writes reasoning and calls.

    takes_tools  tools may be offered to it
    reasons      it may write reasoning
    keep         special ids that must stay in the text, because the parser reads them
    """

    @property
    def takes_tools(self) -> bool: ...
    @property
    def reasons(self) -> bool: ...
    @property
    def keep(self) -> Sequence[int]: ...

    def messages(self, messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Messages as its chat template wants them."""

    def parser(
        self, prompt: str, tools: Sequence[Mapping[str, Any]], *, parallel: bool
    ) -> Parser | None:
        """A parser for one reply; None if its text needs none.

        prompt    rendered: reasoning may have been opened at its end
        tools     that were offered
        parallel  more than one call may be given out
        """

    def grammar(
        self,
        prompt: str,
        tools: Sequence[Mapping[str, Any]],
        *,
        parallel: bool,
        required: bool,
        name: str | None,
        strict: Set[str],
        answer: Grammar | None,
    ) -> Grammar | None:
        """What the whole reply must look like, reasoning and calls included; None if anything will do.

        required  a tool must be called; name: this one
        strict    names of tools whose arguments are to be what their schemas allow, wherever one is called
        answer    what its answer must look like, where it gives one

        Raises RequestError for what it cannot be held to.
        """


def joined(parts: Iterable[Part]) -> list[Block]:
    """The whole of a reply from its parts, in their order: neighbours of a kind become one."""
    blocks: list[Block] = []
    for part in parts:
        last = blocks[-1] if blocks else None
        if isinstance(part, CallStart):
            blocks.append(Call(part.id, part.name, ""))
        elif isinstance(part, CallArguments):
            if isinstance(last, Call):
                blocks[-1] = Call(last.id, last.name, last.arguments + part.text)
        elif isinstance(part, Text) and isinstance(last, Text):
            blocks[-1] = Text(last.text + part.text)
        elif isinstance(part, Reasoning) and isinstance(last, Reasoning):
            blocks[-1] = Reasoning(last.text + part.text)
        elif not isinstance(part, CallEnd):
            blocks.append(part)
    return blocks
