"""What a format of tool calls consists of."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .source import Reading, Source
from .writer import Writer, call_id

ALPHANUMERIC = string.ascii_letters + string.digits


def nine_characters() -> str:
    """An id as Mistral's templates demand it."""
    return "".join(secrets.choice(ALPHANUMERIC) for _ in range(9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How one family of models writes calls.

    opening         literals that begin calls wherever they stand
    bare            characters that may begin calls, at the very start of the answer only
    read            reads calls, given what opened them; raises NoCall
    grammar         Lark for one or more calls, given the offered tools; see lark.py
    keep            literals besides `opening` that stay in the text where they are special tokens
    text_arguments  the chat template wants arguments as text, not as an object
    short_ids       ids of calls have nine letters or digits
    whole           the whole reply has this form, reasoning and answer too (see harmony.py)
    """

    name: str
    opening: tuple[str, ...] = ()
    bare: str = ""
    read: Callable[[Source, Writer, str], Reading[None]]
    grammar: Callable[[Any], str]
    keep: tuple[str, ...] = ()
    text_arguments: bool = False
    short_ids: bool = False
    whole: bool = False

    def new_id(self) -> str:
        """An id for a call."""
        return nine_characters() if self.short_ids else call_id()
