"""How a model writes reasoning and calls: told from its chat template, or named by whoever serves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from dovetail.errors import InvalidParameter
from dovetail.structured import Grammar

from .calls.grammar import Frame, special_tokens
from .calls.messages import adapted
from .calls.reader import Reader
from .calls.table import Chosen, choose
from .template import ChatTemplate, Message
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
        found = {t: tokenizer.id_of(t) for t in special_tokens(chosen.calls, chosen.reasoning)}
        ids = {text: token for text, token in found.items() if token is not None}
        self.keep = list(ids.values())
        self._tokens = {t: token for t, token in ids.items() if token in tokenizer.added_ids}

    def __str__(self) -> str:
        return str(self.chosen)

    @property
    def reasons(self) -> bool:
        """As Speech.reasons."""
        return self.chosen.reasoning is not None

    def messages(self, messages: Sequence[Message]) -> Sequence[Message]:
        """As Speech.messages."""
        return messages if self.chosen.calls is None else adapted(messages, self.chosen.calls)

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
        """As Speech.grammar."""
        reasoning, offered = self.chosen.reasoning, schemas(tools)
        if name is not None:
            if name not in offered:
                raise InvalidParameter(
                    f"tool_choice names {name[:100]!r}, which is not one of tools: {', '.join(offered)[:500]}",
                    param="tool_choice",
                )
            offered = {name: offered[name]}
        frame = Frame(
            calls=self.chosen.calls,
            tools=offered,
            parallel=parallel and name is None,
            reasoning=reasoning,
            opened=reasoning is not None and reasoning.opened_by(prompt),
            tokens=self._tokens,
            strict=strict,
        )
        if required:
            return Grammar("lark", frame.must_call(), field="tools")
        if answer is None and strict & offered.keys():
            return Grammar("lark", frame.may_call(), field="tools")
        if answer is None or not (offered or reasoning):
            return answer
        return replace(answer, frame=frame.must_answer())


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

    Raises ValueError for a name that is none.
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
