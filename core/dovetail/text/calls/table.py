"""Which models write which format: read from what their chat template holds, or named by its user.

Rows are looked at from the top; the first whose marks are all in the template holds. Marks are what the template itself writes:
tags of calls in earlier messages, or the prompt that tells the model how to call.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TypeVar

from .deepseek import DEEPSEEK_V3, DEEPSEEK_V31
from .format import Format
from .functiongemma import FUNCTIONGEMMA
from .glm import GLM45
from .granite import GRANITE as GRANITE_CALLS
from .harmony import GPT_OSS
from .hermes import HERMES
from .llama import LLAMA3_JSON
from .mistral import MISTRAL as MISTRAL_CALLS
from .phi import PHI4_MINI_JSON
from .pythonic import LLAMA4_PYTHONIC
from .qwen_coder import QWEN3_CODER
from .reasoning import ANALYSIS, DEEPSEEK_R1, GRANITE, MISTRAL, THINK, Tags

NONE = "none"
T = TypeVar("T", Format, Tags)

# marks, all of them in the template -> format of calls
CALLS: tuple[tuple[tuple[str, ...], Format], ...] = (
    (("<start_function_call>",), FUNCTIONGEMMA),
    (("<|channel|>", "<|message|>", "<|start|>"), GPT_OSS),
    (("<｜tool▁calls▁begin｜>", "```json"), DEEPSEEK_V3),
    (("<｜tool▁calls▁begin｜>",), DEEPSEEK_V31),
    (("[TOOL_CALLS]",), MISTRAL_CALLS),
    (("<function=", "<parameter="), QWEN3_CODER),
    (("<arg_key>", "<arg_value>"), GLM45),
    (("functools[",), PHI4_MINI_JSON),
    (("<|tool|>", "<|/tool|>"), PHI4_MINI_JSON),
    (("<tool_call>", "</tool_call>"), HERMES),
    (("<|tool_call|>",), GRANITE_CALLS),
    (("<|start_of_role|>", "<tool_call>"), GRANITE_CALLS),
    (("[func_name1(",), LLAMA4_PYTHONIC),
    (('"parameters": ', "<|python_tag|>"), LLAMA3_JSON),
    (('"parameters": ', "<|start_header_id|>"), LLAMA3_JSON),
    (('"parameters": ', "<|header_start|>"), LLAMA3_JSON),
    (("<tool_call>",), HERMES),
)

# marks, all of them in the template -> tags of reasoning
REASONING: tuple[tuple[tuple[str, ...], Tags], ...] = (
    (("<|channel|>", "<|message|>", "<|start|>"), ANALYSIS),
    (("[THINK]",), MISTRAL),
    (("Here is my thought process:",), GRANITE),
    (("<response>", "<think>"), GRANITE),
    (("<think>",), THINK),
    (("</think>",), THINK),
)

CALL_FORMATS = {form.name: form for _, form in CALLS}
REASONING_FORMATS = {form.name: form for _, form in REASONING} | {"deepseek_r1": DEEPSEEK_R1}

# names that others give to these
CALL_ALIASES = {
    "qwen": "hermes",
    "granite4": "hermes",
    "llama4_json": "llama3_json",
    "pythonic": "llama4_pythonic",
    "qwen3_xml": "qwen3_coder",
    "glm47": "glm45",
    "openai": "gpt_oss",
    "phi4": "phi4_mini_json",
}
REASONING_ALIASES = {
    "qwen3": "think",
    "glm45": "think",
    "deepseek_v3": "think",
    "openai_gptoss": "gpt_oss",
}
CALL_NAMES = (*CALL_FORMATS, *CALL_ALIASES, NONE)
REASONING_NAMES = (*REASONING_FORMATS, *REASONING_ALIASES, NONE)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is read in replies of a model; None: nothing.

    why  in words, for people
    """

    calls: Format | None = None
    reasoning: Tags | None = None
    why: str = "no chat template"

    def __str__(self) -> str:
        calls = self.calls.name if self.calls else NONE
        return (
            f"tool calls {calls}, reasoning {self.reasoning.name if self.reasoning else NONE}"
            f" ({self.why})"
        )


def choose(
    template: str | None,
    *,
    takes_tools: bool = True,
    calls: str | None = None,
    reasoning: str | None = None,
) -> Chosen:
    """The formats for a chat template, or those that are named. Raises ValueError for a name that is none.

    takes_tools  the template renders definitions of tools
    """
    source = template or ""
    found_calls = _first(CALLS, source) if takes_tools else None
    found_reasoning = _first(REASONING, source)
    whys = {"by name" if name else "by the chat template" for name in (calls, reasoning)}
    if template is None:
        whys = {"by name" if calls or reasoning else "no chat template"}
    if calls is not None:
        name = known(calls, CALL_NAMES)
        found_calls = CALL_FORMATS.get(CALL_ALIASES.get(name, name))
    if reasoning is not None:
        name = known(reasoning, REASONING_NAMES)
        found_reasoning = REASONING_FORMATS.get(REASONING_ALIASES.get(name, name))
    return Chosen(found_calls, found_reasoning, " and ".join(sorted(whys)))


def _first(rows: tuple[tuple[tuple[str, ...], T], ...], source: str) -> T | None:
    return next((form for marks, form in rows if all(mark in source for mark in marks)), None)


def known(name: str, names: tuple[str, ...]) -> str:
    """The name, if it is one of them. Raises ValueError that says which there are."""
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    raise ValueError(f"it must be one of {', '.join(names)}{meant}")
