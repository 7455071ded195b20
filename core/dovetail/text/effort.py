"""How hard a model is to think, in the words of its chat template."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
NAMED = {"minimal": "low", "xhigh": "high"}  # for templates with three levels
SWITCHES = ("enable_thinking", "thinking")


def effort_variables(effort: str, known: Set[str], *, reasons: bool) -> dict[str, Any]:
    """Variables for a template that say so. Raises RequestError if it has no word for it.

    known    variables that the template reads
    reasons  its model writes reasoning that is read here
    """
    if effort not in EFFORTS:
        raise InvalidParameter(
            f"reasoning_effort is {effort[:100]!r}; it must be one of {', '.join(EFFORTS)}",
            param="reasoning_effort",
        )
    if "reasoning_effort" in known and effort != "none":
        return {"reasoning_effort": NAMED.get(effort, effort)}
    for switch in SWITCHES:
        if switch in known:
            return {switch: effort != "none"}
    if effort == "none" and not reasons:
        return {}
    raise UnsupportedParameter(
        f"reasoning_effort {effort} cannot be told to this model: its chat template has no variable for it; leave it out",
        param="reasoning_effort",
    )
