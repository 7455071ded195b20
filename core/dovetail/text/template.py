"""Chat messages -> prompt text, by the model's own template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import meta

from dovetail.errors import CheckpointError, InvalidParameter, RequestError

from .bounds import MAX_CHARACTERS, TIME_LIMIT_S, Budget, LimitExceeded
from .sandbox import ChatEnvironment, Refused

MAX_SOURCE = 1 << 18
Message = Mapping[str, Any]
COMPILING = (
    jinja2.TemplateError,
    *(
        RecursionError,
        SyntaxError,
        MemoryError,
        ValueError,
        OverflowError,
    ),  # Python's, of its source
)


class ChatTemplate:
    """A compiled chat template.

    takes_tools      it renders the definitions of tools
    takes_documents  it renders documents
    variables        names of all that it reads
    source           Jinja source
    """

    def __init__(
        self,
        source: str,
        special: Mapping[str, str] | None = None,
        *,
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        """Special: bos_token, eos_token, ... for the template. Raises CheckpointError if it does not compile."""
        if len(source) > MAX_SOURCE:
            raise CheckpointError(
                f"the chat template has {len(source)} characters; at most {MAX_SOURCE} are read"
            )
        environment = ChatEnvironment()
        try:
            self._template = environment.from_string(source)
            names = meta.find_undeclared_variables(environment.parse(source))
        except COMPILING as error:
            why = " ".join(str(error).split())[:300] or type(error).__name__
            raise CheckpointError(f"the chat template is not valid Jinja: {why}") from error
        self.source = source
        self.variables = frozenset(names)
        self.takes_tools = "tools" in names
        self.takes_documents = "documents" in names
        self._special = dict(special or {})
        self._time_limit_s = time_limit_s

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        **variables: Any,
    ) -> str:
        """The prompt for these messages.

        continue_final_message  leave the last message open, so that the model goes on with it
        variables               others that the template knows, such as enable_thinking

        Raises RequestError that says what the template refused or which limit it hit.
        """
        if continue_final_message and add_generation_prompt:
            raise InvalidParameter(
                "continue_final_message and add_generation_prompt exclude each other",
                param="continue_final_message",
            )
        text = self._run(
            {
                **variables,
                "messages": messages,
                "tools": tools or None,
                "documents": documents or None,
                "add_generation_prompt": add_generation_prompt,
            }
        )
        return _reopen(text, messages) if continue_final_message else text

    def _run(self, variables: Mapping[str, Any]) -> str:
        budget = Budget(self._time_limit_s)
        context = {**self._special, **variables}
        parts: list[str] = []
        size = 0
        try:
            with budget.running():
                for part in self._template.generate(context):
                    budget.tick()
                    parts.append(part)
                    size += len(part)
                    if size > MAX_CHARACTERS:
                        raise LimitExceeded(f"its text is longer than {MAX_CHARACTERS} characters")
        except Refused as error:
            raise InvalidParameter(
                f"the model's chat template does not take these messages: {error}", param="messages"
            ) from error
        except LimitExceeded as error:
            raise RequestError(
                f"the model's chat template was stopped: {error}", param="messages"
            ) from error
        except Exception as error:  # foreign code: it may raise anything
            raise InvalidParameter(
                f"the model's chat template cannot render these messages: {type(error).__name__}: {str(error)[:300]}",
                param="messages",
            ) from error
        return "".join(parts)


def _reopen(text: str, messages: Sequence[Message]) -> str:
    """The text up to the end of the last message's content."""
    content = messages[-1].get("content") if messages else None
    last = content.strip() if isinstance(content, str) else ""
    start = text.rfind(last) if last else -1
    if start < 0:
        raise InvalidParameter(
            "continue_final_message needs a last message with text that the template renders as it is",
            param="continue_final_message",
        )
    return text[: start + len(last)]
