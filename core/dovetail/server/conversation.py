"""From what was asked to replies that grow: render, tokenise, submit, and take what comes apart."""

from __future__ import annotations

from dataclasses import dataclass

from dovetail.errors import UnsupportedParameter
from dovetail.text.model import TextModel
from dovetail.text.parts import Parser

from .ask import Ask
from .generation import Generation
from .served import Served, off_loop


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered chat, as text and as tokens."""

    text: str
    ids: list[int]


async def converse(served: Served, ask: Ask, *, request_id: str) -> Generation:
    """Start the replies; `events` or `collect` of what is returned give them in parts.

    Raises RequestError or EngineError, having started nothing.
    """
    _check(served.text, ask)
    prompt = await prompt_of(served.text, ask)
    speech, tools = served.text.speech, ask.offered

    def parser() -> Parser | None:
        if speech is None:
            return None
        return speech.parser(prompt.text, tools, parallel=ask.parallel)

    return await Generation.start(
        served,
        [prompt.ids],
        ask.sampling,
        request_id=request_id,
        priority=ask.priority,
        salt=ask.salt,
        clip=ask.clip,
        parser=parser,
    )


def _check(text: TextModel, ask: Ask) -> None:
    """Raise UnsupportedParameter for what this model cannot be asked."""
    if ask.tools and ask.tool_choice.kind == "required":
        raise UnsupportedParameter(
            'tool_choice can be "auto" or "none"; a call cannot be forced', param="tool_choice"
        )
    if ask.offered and text.template is not None:
        speech = text.speech
        if speech is None or not speech.takes_tools:
            raise UnsupportedParameter(
                f"the chat template of {text.name} has no tool calls in a form that is read here; leave tools out",
                param="tools",
            )
    if ask.documents and text.template is not None and not text.template.takes_documents:
        raise UnsupportedParameter(
            f"the chat template of {text.name} takes no documents; put them into a message",
            param="documents",
        )


async def prompt_of(text: TextModel, ask: Ask) -> Prompt:
    """The rendered chat; off the event loop if it is long. Raises RequestError."""

    def render() -> Prompt:
        prompt = text.render(
            ask.messages,
            tools=ask.offered,
            documents=ask.documents,
            add_generation_prompt=ask.open_reply,
            continue_final_message=ask.continue_last,
            **ask.variables,
        )
        ids = text.encode(prompt, add_special_tokens=ask.special_tokens, param="messages")
        return Prompt(prompt, [*ask.before, *ids] if ask.before else ids)

    return await off_loop(ask.size, render)
