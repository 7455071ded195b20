"""Grammars around calls: what a reply may consist of where a call, or an answer of some form, is certain to come.

Reasoning is part of the grammar and free until its closing tag, so that nothing has to know when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.structured.schema import enforceable

from .format import Format
from .harmony import ANALYSIS, CHANNEL, ENDS, MESSAGE, START
from .lark import Lark
from .reasoning import Tags
from .writer import Schemas

FINAL = f"{CHANNEL}final{MESSAGE}"
PREAMBLE = f"{CHANNEL}commentary{MESSAGE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a reply may hold besides an answer.

    calls      the format of calls, None where none may come
    tools      that may be called: name -> schema of the parameters
    parallel   more than one call may be made
    reasoning  how it is written, None if the model does not reason
    opened     the reply begins within the reasoning
    tokens     literals of these that were added to the vocabulary -> their ids
    strict     tools whose schemas are kept to in every word of them, and where calls may come but need not
    """

    calls: Format | None
    tools: Schemas
    parallel: bool
    reasoning: Tags | None
    opened: bool
    tokens: Mapping[str, int]
    strict: Set[str] = frozenset()

    def must_call(self) -> str:
        """Lark for a reply that calls. Raises UnsupportedParameter if arguments cannot be held to a tool's schema."""
        lark = self._lark()
        return lark.text(f"{self._before(lark)} {self._calls(lark)}")

    def may_call(self) -> str:
        """Lark for a reply of any text, in which what begins like a call is one of an offered tool, whole.

        Arguments of tools that are strict are held to their schemas. Without marks of its own (`Format.bare`) a call is
        what an answer begins with that begins like one.
        """
        form = self.calls
        if form is None:
            raise ValueError("there are no calls without a format")
        mark = form.opening[0] if form.opening else ""
        lark = self._lark(mark, frozenset(self.tools) - self.strict)
        calls = self._calls(lark)
        if form.whole:
            return lark.text(self._messages(lark, calls))
        others = form.opening[1:]
        starts = (*form.bare, *(self.reasoning.opening if self.reasoning is not None else ()))
        tail = ""
        if self.parallel:
            tail = f"({lark.opening(mark, others)} {calls})* {lark.free(form.opening)}"
        begins = [f"{lark.opening(mark, others, starts)} {calls} {tail}"]
        if form.bare:
            begins.append(f"{calls} {tail}")
        begins.append(lark.free(form.opening, starts))
        return lark.text(f"{self._before(lark)} ({' | '.join(begins)})")

    def _messages(self, lark: Lark, calls: str) -> str:
        """Messages in channels: what is thought or said beforehand, then calls or an answer."""
        after = lark.literal(START + "assistant")
        begins = " | ".join(map(lark.literal, (ANALYSIS, PREAMBLE)))
        before = lark.rule(f"({begins}) {lark.until('', ENDS[0])} {after}")
        first = f"{lark.until('', ENDS[0])} {after} " if self.opened else ""
        answer = f"{lark.literal(FINAL)} {lark.free((*ENDS, START, CHANNEL))}"
        return f"{first}{before}* ({calls} | {answer})"

    def must_answer(self) -> str:
        """Lark for a reply that gives an answer, the rule `answer`, or calls if that is possible."""
        lark = self._lark()
        answer = f"{lark.literal(FINAL)} answer" if self._channels else "answer"
        if self.calls is not None and self.tools:
            answer = f"({self._calls(lark)} | {answer})"
        return lark.text(f"{self._before(lark)} {answer}")

    @property
    def _channels(self) -> bool:
        return self.reasoning is not None and self.reasoning.channels

    def _lark(self, opened: str = "", loose: Set[str] = frozenset()) -> Lark:
        tools = {
            name: _enforceable(name, schema) if name in self.strict else schema
            for name, schema in self.tools.items()
        }
        return Lark(tools, tokens=self.tokens, parallel=self.parallel, opened=opened, loose=loose)

    def _calls(self, lark: Lark) -> str:
        if self.calls is None:
            raise ValueError("there are no calls without a format")
        return self.calls.grammar(lark)

    def _before(self, lark: Lark) -> str:
        """Reasoning and what stands between it and the rest; if the prompt has not opened it, it may be left out."""
        tags = self.reasoning
        if tags is None and not (self.calls is not None and self.calls.whole):
            return ""
        if tags is None or tags.channels:
            thought = lark.until("" if self.opened else ANALYSIS, ENDS[0])
            after = lark.literal(START + "assistant")
        else:
            begins = f"({' | '.join(map(lark.literal, tags.opening))})"
            thought = f"{'' if self.opened else begins} {lark.until('', *tags.closing)}"
            after = lark.rule(r"/[ \n]{0,2}/")
        return f"{thought} {after}" if self.opened else f"({thought} {after})?"


def _enforceable(name: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a strict tool. Raises UnsupportedParameter for what cannot be kept to."""
    try:
        return enforceable(dict(schema))
    except InvalidParameter as error:
        raise UnsupportedParameter(
            f"tools: the parameters of {name[:100]!r}, which is strict, {error}", param="tools"
        ) from None


def special_tokens(form: Format | None, reasoning: Tags | None) -> tuple[str, ...]:
    """Literals that must stay in the text where they are special tokens."""
    kept = (*form.opening, *form.keep) if form is not None else ()
    return tuple(dict.fromkeys((*kept, *(reasoning.keep if reasoning is not None else ()))))
