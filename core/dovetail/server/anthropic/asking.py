"""What Anthropic's clients ask, in no dialect; what is known and not supported is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.sampling import SamplingParams, check_int
from dovetail.server.ask import Ask, ToolChoice
from dovetail.server.limits import check_count, check_nesting
from dovetail.server.shapes import json_schema
from dovetail.structured import Grammar
from dovetail.text.effort import thinking_switch
from dovetail.text.model import TextModel

from .conversation import is_continued, plain_messages, plain_tools
from .schema import Block, CountRequest, MessagesRequest, Thinking

MAX_MESSAGES = 8192
MAX_BLOCKS = 100_000  # of a request, those within results included
MAX_TOOLS = 1024
MAX_USER_ID = 512
MIN_BUDGET = 1024
MOST = 2**31 - 1
REFUSED = ("container", "context_management", "diagnostics", "mcp_servers")
THINKING = {"enabled": True, "adaptive": None, "disabled": False}
EFFORTS = ("low", "medium", "high", "xhigh", "max")


def ask_of(asked: CountRequest, text: TextModel, size: int) -> Ask:
    """The conversation; size: bytes of the request. Raises RequestError."""
    _bound(asked)
    _refuse(asked)
    messages, tools = plain_messages(asked), plain_tools(asked.tools)
    continued = is_continued(messages)
    if messages[-1]["role"] == "assistant" and not continued:
        messages.pop()  # an empty turn: the reply is that turn
    return Ask(
        messages=messages,
        sampling=_sampling(asked, text),
        tools=tools,
        tool_choice=_choice(asked, bool(tools)),
        strict=frozenset(tool.name for tool in asked.tools or () if tool.strict),
        parallel=not (asked.tool_choice and asked.tool_choice.disable_parallel_tool_use),
        open_reply=not continued,
        continue_last=continued,
        variables=_variables(asked, text),
        effort=_effort(asked),
        clip=True,
        size=size,
    )


def _sampling(asked: CountRequest, text: TextModel) -> SamplingParams:
    if not isinstance(asked, MessagesRequest):
        return text.sampling(max_tokens=0)
    check_int("max_tokens", asked.max_tokens, 0, MOST)
    return text.sampling(
        max_tokens=asked.max_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        stop=tuple(asked.stop_sequences or ()),
        grammar=_grammar(asked),
    )


def _grammar(asked: CountRequest) -> Grammar | None:
    """The form that output_config asks for."""
    form = asked.output_config.format if asked.output_config is not None else None
    if form is None:
        return None
    if form.type != "json_schema":
        raise UnsupportedParameter(
            f"output_config.format.type is {form.type[:100]!r}; it can be json_schema only",
            param="output_config.format.type",
        )
    return json_schema(form.schema, "output_config.format.schema")


def _choice(asked: CountRequest, tools: bool) -> ToolChoice:
    choice = asked.tool_choice
    if choice is None or choice.type in ("auto", "none"):
        return ToolChoice("none" if choice and choice.type == "none" else "auto")
    if choice.type not in ("any", "tool"):
        raise InvalidParameter(
            f"tool_choice.type is {choice.type[:100]!r}; it must be auto, any, tool or none",
            param="tool_choice.type",
        )
    if not tools:
        raise InvalidParameter(
            f"tool_choice.type is {choice.type}, and there are no tools", param="tool_choice"
        )
    if choice.type == "any":
        return ToolChoice("required")
    names = [tool.name for tool in asked.tools or ()]
    if choice.name not in names:
        raise InvalidParameter(
            f"tool_choice.name is {str(choice.name)[:100]!r}, which is none of the tools",
            param="tool_choice.name",
        )
    return ToolChoice("required", choice.name)


def _variables(asked: CountRequest, text: TextModel) -> Mapping[str, Any]:
    """Whether to think, as templates know it. budget_tokens bounds nothing by itself: max_tokens covers thinking too."""
    thinking = asked.thinking
    if thinking is None:
        return {}
    if thinking.type not in THINKING:
        raise UnsupportedParameter(
            f"thinking.type is {thinking.type[:100]!r}; it must be one of {', '.join(THINKING)}",
            param="thinking.type",
        )
    if thinking.type == "enabled":
        _check_budget(asked, thinking)
    switch = THINKING[thinking.type]
    return {} if switch is None else thinking_switch(text, switch, "thinking.type")


def _effort(asked: CountRequest) -> str | None:
    """How hard to think; what Anthropic calls max is the most there is."""
    effort = asked.output_config.effort if asked.output_config is not None else None
    return "xhigh" if effort == "max" else effort


def _check_budget(asked: CountRequest, thinking: Thinking) -> None:
    if thinking.budget_tokens is None:
        raise InvalidParameter("thinking.budget_tokens is missing", param="thinking.budget_tokens")
    check_int("thinking.budget_tokens", thinking.budget_tokens, MIN_BUDGET, MOST)
    if isinstance(asked, MessagesRequest) and thinking.budget_tokens >= asked.max_tokens:
        raise InvalidParameter(
            f"thinking.budget_tokens is {thinking.budget_tokens}; it must be less than max_tokens, {asked.max_tokens}",
            param="thinking.budget_tokens",
        )


def _refuse(asked: CountRequest) -> None:
    for name in REFUSED:
        if getattr(asked, name) not in (None, [], {}):
            raise UnsupportedParameter(f"{name} is not supported; leave it out", param=name)
    if asked.speed not in (None, "standard"):
        raise UnsupportedParameter("speed can be standard only", param="speed")
    shown = asked.thinking.display if asked.thinking else None
    if shown not in (None, "summarized", "omitted"):
        raise InvalidParameter(
            f"thinking.display is {shown[:100]!r}; it must be summarized or omitted",
            param="thinking.display",
        )
    config = asked.output_config
    if config is not None and config.effort not in (None, *EFFORTS):
        raise InvalidParameter(
            f"output_config.effort is {str(config.effort)[:100]!r}; it must be one of {', '.join(EFFORTS)}",
            param="output_config.effort",
        )


def _bound(asked: CountRequest) -> None:
    """Bound number and nesting of what may hold anything."""
    check_count("messages", asked.messages, MAX_MESSAGES)
    check_count("tools", asked.tools, MAX_TOOLS)
    check_nesting("tools", [tool.input_schema for tool in asked.tools or ()])
    level: list[Block] = [
        block for m in asked.messages if not isinstance(m.content, str) for block in m.content
    ]
    if len(level) > MAX_BLOCKS:
        raise InvalidParameter(
            f"messages holds more than {MAX_BLOCKS} blocks; send fewer", param="messages"
        )
    check_nesting("messages", [block.input for block in level if block.input])
    if isinstance(asked, MessagesRequest) and asked.metadata is not None:
        user = asked.metadata.user_id or ""
        if len(user) > MAX_USER_ID:
            raise InvalidParameter(
                f"metadata.user_id has {len(user)} characters; at most {MAX_USER_ID} are allowed",
                param="metadata.user_id",
            )
