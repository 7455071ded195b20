"""How a model writes reasoning and calls: told from its chat template, or named by whoever serves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .calls.grammar import special_tokens
from .calls.reader import Reader
from .calls.table import Chosen, choose
from .template import ChatTemplate
from .tokenizer import Tokenizer


class Spoken:
    """A Speech of the formats that were chosen for a model.

    chosen       the formats, and why
    takes_tools  its template renders tools and its calls can be read
    keep         ids of special tokens that the formats consist of
    """

    def __init__(self, chosen: Chosen, tokenizer: Tokenizer, *, renders_tools: bool) -> None:
        self.chosen = chosen
        self.takes_tools = renders_tools and chosen.calls is not None
        ids = map(tokenizer.id_of, special_tokens(chosen.calls, chosen.reasoning))
        self.keep = [token for token in ids if token is not None]

    def parser(
        self, prompt: str, tools: Sequence[Mapping[str, Any]], *, parallel: bool
    ) -> Reader | None:
        """As Speech.parser."""
        calls, reasoning = self.chosen.calls, self.chosen.reasoning
        if reasoning is None and not (calls is not None and (tools or calls.whole)):
            return None
        return Reader(
            calls=calls,
            reasoning=reasoning,
            tools=schemas(tools),
            parallel=parallel,
            opened=reasoning is not None and reasoning.opened_by(prompt),
        )


def schemas(tools: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Tools by name -> JSON schema of their parameters."""
    functions = (tool["function"] for tool in tools)
    return {function["name"]: function.get("parameters") or {} for function in functions}


def speech_of(
    template: ChatTemplate | None,
    tokenizer: Tokenizer,
    *,
    calls: str | None = None,
    reasoning: str | None = None,
) -> Spoken | None:
    """How a model with this template writes; None if it writes plain text alone.

    calls, reasoning  names of formats that hold whatever the template says

    Raises ConfigError for a name that is none.
    """
    renders_tools = template is not None and template.takes_tools
    chosen = choose(
        template.source if template is not None else None,
        takes_tools=renders_tools,
        calls=calls,
        reasoning=reasoning,
    )
    if chosen.calls is None and chosen.reasoning is None:
        return None
    return Spoken(chosen, tokenizer, renders_tools=renders_tools)
