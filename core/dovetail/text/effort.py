"""Whether and how hard a model is to think, in the words of its chat template; every dialect asks here."""

from __future__ import annotations

from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter

from .model import TextModel

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
NAMED = {"minimal": "low", "xhigh": "high"}  # for templates with three levels
SWITCHES = ("enable_thinking", "thinking")


def thinks(text: TextModel) -> bool:
    """Whether the model can be made to think, or always does."""
    return _switch(text) is not None or _always(text)


def effort_variables(text: TextModel, effort: str) -> dict[str, Any]:
    """Variables for its template that say how hard. Raises RequestError if it has no word for it."""
    if effort not in EFFORTS:
        raise InvalidParameter(
            f"reasoning_effort is {effort[:100]!r}; it must be one of {', '.join(EFFORTS)}",
            param="reasoning_effort",
        )
    if text.template is None:
        return {}
    if "reasoning_effort" in text.template.variables and effort != "none":
        return {"reasoning_effort": NAMED.get(effort, effort)}
    if (switch := _switch(text)) is not None:
        return {switch: effort != "none"}
    if effort == "none" and not _always(text):
        return {}
    raise UnsupportedParameter(
        f"reasoning_effort {effort} cannot be told to this model: its chat template has no variable for it; leave it out",
        param="reasoning_effort",
    )


def thinking_switch(text: TextModel, on: bool, param: str) -> dict[str, Any]:
    """Variables for its template that turn thinking on or off. Raises UnsupportedParameter if it cannot do as asked."""
    switch = _switch(text)
    if switch is not None:
        return {switch: on}
    if on == _always(text):
        return {}
    word = "on; leave" if on else "off; leave"
    raise UnsupportedParameter(
        f"the chat template of {text.name} has no switch that turns thinking {word} {param} out",
        param=param,
    )


def _switch(text: TextModel) -> str | None:
    known = text.template.variables if text.template is not None else frozenset()
    return next((name for name in SWITCHES if name in known), None)


def _always(text: TextModel) -> bool:
    return text.speech is not None and text.speech.reasons
