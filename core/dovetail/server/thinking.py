"""Whether to think, in the words of the model's chat template."""

from __future__ import annotations

from typing import Any

from dovetail.errors import UnsupportedParameter
from dovetail.text.model import TextModel

SWITCHES = ("enable_thinking", "thinking")  # Qwen3 and GLM, DeepSeek and Granite


def thinking_switch(text: TextModel, on: bool, param: str) -> dict[str, Any]:
    """Variables for the template. Raises UnsupportedParameter if the model cannot think, and is asked to."""
    source = text.template.source if text.template is not None else ""
    for name in SWITCHES:
        if name in source:
            return {name: on}
    if on:
        raise UnsupportedParameter(
            f"the chat template of {text.name} has no thinking to turn on; leave {param} out",
            param=param,
        )
    return {}
