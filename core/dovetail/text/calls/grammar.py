"""Grammars around calls: what a reply may consist of where a call, or an answer of some form, is certain to come.

Reasoning is part of the grammar and free until its closing tag, so that nothing has to know when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .format import Format
from .harmony import ANALYSIS, CHANNEL, ENDS, MESSAGE, START
from .lark import Lark
from .reasoning import Tags
from .writer import Schemas

FINAL = f"{CHANNEL}final{MESSAGE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a reply may hold besides an answer.

    calls      the format of calls, None where none may come
    tools      that may be called: name -> schema of the parameters
    parallel   more than one call may be made
    reasoning  how it is written, None if the model does not reason
    opened     the reply begins within the reasoning
    tokens     literals of these that were added to the vocabulary -> their ids
    """

    calls: Format | None
    tools: Schemas
    parallel: bool
    reasoning: Tags | None
    opened: bool
    tokens: Mapping[str, int]

    def must_call(self) -> str:
        """Lark for a reply that calls. Raises UnsupportedParameter if arguments cannot be held to a tool's schema."""
        lark = self._lark()
        return lark.text(f"{self._before(lark)} {self._calls(lark)}")

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

    def _lark(self) -> Lark:
        return Lark(self.tools, tokens=self.tokens, parallel=self.parallel)

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
            thought = lark.until("" if self.opened else tags.opening[0], tags.closing[0])
            after = lark.rule(r"/[ \n]{0,2}/")
        return f"{thought} {after}" if self.opened else f"({thought} {after})?"


def special_tokens(form: Format | None, reasoning: Tags | None) -> tuple[str, ...]:
    """Literals that must stay in the text where they are special tokens."""
    kept = (*form.opening, *form.keep) if form is not None else ()
    return tuple(dict.fromkeys((*kept, *(reasoning.keep if reasoning is not None else ()))))
