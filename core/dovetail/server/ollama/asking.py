"""What Ollama's clients ask, in no dialect; what is known and not supported is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.sampling import SamplingParams
from dovetail.server.ask import Ask
from dovetail.server.limits import check_count, check_nesting
from dovetail.text.effort import thinking_switch
from dovetail.text.model import TextModel

from .messages import plain_messages, plain_tools, prompt_messages
from .options import sampling_fields
from .schema import Ask as OllamaAsk
from .schema import ChatRequest, GenerateRequest

MAX_MESSAGES = 8192
MAX_TOOLS = 1024
LEVELS = ("low", "medium", "high")
REFUSED = ("template", "images", "width", "height", "steps")


def ask_of_chat(asked: ChatRequest, text: TextModel, size: int) -> Ask:
    """The conversation; size: bytes of the request. Raises RequestError."""
    messages = asked.messages or ()
    check_count("messages", messages, MAX_MESSAGES)
    check_count("tools", asked.tools, MAX_TOOLS)
    check_nesting("tools", [tool.function.parameters for tool in asked.tools or ()])
    arguments = [call.function.arguments for m in messages for call in m.tool_calls or ()]
    check_nesting("messages", arguments)
    plain = plain_messages(messages)
    continued = plain[-1]["role"] == "assistant" and bool(plain[-1]["content"].strip())
    return Ask(
        messages=plain,
        sampling=sampling_of(asked, text),
        tools=plain_tools(asked.tools),
        open_reply=not continued,
        continue_last=continued,
        variables=variables(asked, text),
        effort=asked.think if isinstance(asked.think, str) else None,
        clip=True,
        size=size,
    )


def ask_of_generate(asked: GenerateRequest, text: TextModel, size: int) -> Ask:
    """A completion through the chat template."""
    return Ask(
        messages=prompt_messages(asked),
        sampling=sampling_of(asked, text),
        variables=variables(asked, text),
        effort=asked.think if isinstance(asked.think, str) else None,
        before=asked.context or (),
        clip=True,
        size=size,
    )


def check_generate(asked: GenerateRequest, text: TextModel) -> None:
    """Raise for what is not supported, and for what cannot go together."""
    for name in REFUSED:
        if getattr(asked, name):
            raise UnsupportedParameter(f"{name} is not supported; leave it out", param=name)
    check_count("context", asked.context, text.max_model_len)
    if asked.raw and (asked.system or asked.context):
        name = "system" if asked.system else "context"
        raise InvalidParameter(f"raw and {name} exclude each other", param=name)


def sampling_of(asked: OllamaAsk, text: TextModel) -> SamplingParams:
    """How to draw."""
    fields = sampling_fields(asked, text.defaults, max_model_len=text.max_model_len)
    return text.sampling(**fields)


def variables(asked: OllamaAsk, text: TextModel) -> Mapping[str, Any]:
    """Whether to think; how hard is Ask.effort's to say."""
    think = asked.think
    if isinstance(think, str) and think not in LEVELS:
        raise InvalidParameter(
            f"think is {think[:100]!r}; it must be true, false, or one of {', '.join(LEVELS)}",
            param="think",
        )
    return thinking_switch(text, think, "think") if isinstance(think, bool) else {}
