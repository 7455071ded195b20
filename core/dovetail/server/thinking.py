"""Whether to think, in the words of the model's chat template."""

from __future__ import annotations

from typing import Any

from dovetail.errors import UnsupportedParameter
from dovetail.text.effort import SWITCHES
from dovetail.text.model import TextModel


def thinks(text: TextModel) -> bool:
    """Whether the model can be made to think, or always does."""
    return _switch(text) is not None or _always(text)


def thinking_switch(text: TextModel, on: bool, param: str) -> dict[str, Any]:
    """Variables for the template. Raises UnsupportedParameter if the model cannot do as it is asked."""
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
