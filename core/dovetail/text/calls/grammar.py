"""The grammar under which a reply must make calls that its reader reads: reasoning if there is any, then calls."""

from __future__ import annotations

from collections.abc import Mapping

from .format import Format
from .lark import Lark
from .reasoning import Tags
from .writer import Schemas


def calls_grammar(
    form: Format,
    tools: Schemas,
    *,
    special: Mapping[str, int],
    parallel: bool = True,
    reasoning: Tags | None = None,
    opened: bool = False,
) -> str:
    """Lark for a reply that must call one of the tools, or more of them. Raises UnsupportedParameter.

    tools      name -> schema of the parameters
    special    literals of the format that are special tokens -> their ids
    parallel   more than one call may be made
    reasoning  how the model writes what it thinks before; opened: the reply begins within it
    """
    lark = Lark(tools, special=special, parallel=parallel)
    calls = form.grammar(lark)
    if reasoning is None or form.whole:
        return lark.text(calls)
    return lark.text(f"{after(lark, reasoning, opened)} {calls}")


def after(lark: Lark, reasoning: Tags, opened: bool) -> str:
    """Reasoning and the white space after it; if the prompt has not opened it, it may be left out."""
    space = lark.rule(r"/[ \n]{0,2}/")
    thought = lark.until("" if opened else reasoning.opening[0], reasoning.closing[0])
    return f"{thought} {space}" if opened else f"({thought} {space})?"


def special_tokens(form: Format | None, reasoning: Tags | None) -> tuple[str, ...]:
    """Literals that must stay in the text where they are special tokens."""
    kept = (*form.opening, *form.keep) if form is not None else ()
    return tuple(dict.fromkeys((*kept, *(reasoning.keep if reasoning is not None else ()))))
