"""What a client asks of a chat model, whatever dialect it said it in; each dialect translates into this, and answers
what `conversation.converse` makes of it.

Grammar, penalties, stop strings, n, seed and all that shapes the drawing of tokens ride in `sampling`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.sampling import SamplingParams

TEMPLATE_VARIABLES = {"enable_thinking": bool, "thinking": bool}


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether tools are called.

    kind  auto: as the model likes; none: they are not even offered; required: at least one
    name  the one that must be called, with kind required
    """

    kind: Literal["auto", "none", "required"] = "auto"
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A chat to be answered.

    messages            as chat templates take them: role (system, user, assistant, tool), content as text, tool_calls
                        with arguments as objects, tool_call_id, name, reasoning_content
    sampling            from TextModel.sampling, which fills in the model's defaults
    tools               [{"type": "function", "function": {"name", "description", "parameters"}}]
    strict              names of tools that are called with arguments their schemas allow, or not at all
    parallel            a reply may hold more than one call
    documents           for templates that take them
    open_reply          end the prompt where the assistant begins to speak (add_generation_prompt)
    continue_last       leave the last message open: the reply goes on with it
    keep_last           tokens of the prompt that are kept, its last; None for all
    before              ids that go before the prompt: an earlier exchange, as tokens
    special_tokens      the tokenizer adds its own around what the template wrote
    variables           of the template, checked by `template_variables`
    effort              how hard to think before the answer: none, minimal, low, medium, high or xhigh
    salt                separates prefix caches
    clip                sampling.max_tokens was nobody's wish: cut it to what the context leaves
    size                bytes of the request: no work on it is larger
    """

    messages: Sequence[Mapping[str, Any]]
    sampling: SamplingParams
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: ToolChoice = field(default=ToolChoice())
    strict: Set[str] = frozenset()
    parallel: bool = True
    documents: Sequence[Mapping[str, Any]] | None = None
    open_reply: bool = True
    continue_last: bool = False
    keep_last: int | None = None
    before: Sequence[int] = ()
    special_tokens: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)
    effort: str | None = None
    priority: int = 0
    salt: str = ""
    clip: bool = False
    size: int = 0

    @property
    def offered(self) -> Sequence[Mapping[str, Any]]:
        """The tools that the model is told of."""
        return () if self.tool_choice.kind == "none" else self.tools


def template_variables(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """chat_template_kwargs, of which only known names with values of the right type are let through."""
    for name, value in (given or {}).items():
        if name not in TEMPLATE_VARIABLES:
            raise UnsupportedParameter(
                f"chat_template_kwargs.{name[:100]} is not one of {', '.join(TEMPLATE_VARIABLES)}",
                param="chat_template_kwargs",
            )
        if not isinstance(value, TEMPLATE_VARIABLES[name]):
            raise InvalidParameter(
                f"chat_template_kwargs.{name} must be true or false", param="chat_template_kwargs"
            )
    return dict(given or {})
