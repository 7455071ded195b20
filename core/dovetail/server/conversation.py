"""From what was asked to replies that grow: render, tokenise, submit, and take what comes apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dovetail.errors import UnsupportedParameter
from dovetail.sampling import SamplingParams
from dovetail.structured import Grammar
from dovetail.text.effort import effort_variables
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
    sampling = await _sampling(served.text, ask, prompt)
    form = ask.sampling.grammar
    if form is not None and ask.offered and ask.tool_choice.kind == "required":
        await served.grammars.check(
            form
        )  # such a reply has no answer, but what is asked must make sense

    def parser() -> Parser | None:
        if speech is None:
            return None
        return speech.parser(prompt.text, tools, parallel=ask.parallel)

    return await Generation.start(
        served,
        [prompt.ids],
        sampling,
        request_id=request_id,
        priority=ask.priority,
        salt=ask.salt,
        clip=ask.clip,
        parser=parser,
    )


def _check(text: TextModel, ask: Ask) -> None:
    """Raise UnsupportedParameter for what this model cannot be asked."""
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
            **_variables(text, ask),
        )
        ids = text.encode(prompt, add_special_tokens=ask.special_tokens, param="messages")
        ids = [*ask.before, *ids] if ask.before else ids
        return Prompt(prompt, ids if ask.keep_last is None else ids[-ask.keep_last :])

    return await off_loop(ask.size, render)


def _variables(text: TextModel, ask: Ask) -> dict[str, Any]:
    """Of the template; those that are given hold against what the effort says."""
    if ask.effort is None:
        return dict(ask.variables)
    return {**effort_variables(text, ask.effort), **ask.variables}


async def _sampling(text: TextModel, ask: Ask, prompt: Prompt) -> SamplingParams:
    """With a grammar of the whole reply: reasoning first, then the calls or the form of answer that were asked for."""
    speech, choice, params = text.speech, ask.tool_choice, ask.sampling
    required = bool(ask.offered) and choice.kind == "required"
    strict = ask.strict if ask.offered else frozenset()
    if speech is None or not (required or params.grammar or strict):
        return params

    def grammar() -> Grammar | None:
        return speech.grammar(
            prompt.text,
            ask.offered,
            parallel=ask.parallel,
            required=required,
            name=choice.name,
            strict=strict,
            answer=params.grammar,
        )

    return replace(params, grammar=await off_loop(ask.size, grammar))
