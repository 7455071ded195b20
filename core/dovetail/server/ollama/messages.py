"""Ollama's messages and tools as a chat template wants them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter

from .schema import ChatRequest, GenerateRequest, Message, Tool, ToolCall

Plain = dict[str, Any]
ROLES = ("system", "user", "assistant", "tool")


def plain_messages(messages: Sequence[Message]) -> list[Plain]:
    """Messages as dictionaries; raises RequestError that names the message at fault."""
    return [_plain(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _plain(message: Message, place: str) -> Plain:
    if message.role not in ROLES:
        raise InvalidParameter(
            f"{place}.role is {message.role[:100]!r}; it must be one of {', '.join(ROLES)}",
            param=f"{place}.role",
        )
    if message.images:
        raise UnsupportedParameter(
            f"{place}.images is not supported; this model takes text only", param=f"{place}.images"
        )
    plain: Plain = {"role": message.role, "content": message.content or ""}
    if message.tool_calls:
        plain["tool_calls"] = [_call(call, i) for i, call in enumerate(message.tool_calls)]
    if message.thinking:
        plain["reasoning_content"] = message.thinking
    if message.role == "tool":
        if message.tool_name:
            plain["name"] = message.tool_name
        if message.tool_call_id:
            plain["tool_call_id"] = message.tool_call_id
    return plain


def _call(call: ToolCall, index: int) -> Plain:
    arguments = call.function.arguments or {}
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError, RecursionError):  # templates write text as it is
            arguments = json.loads(arguments)
    function = {"name": call.function.name, "arguments": arguments}
    return {"id": call.id or f"call_{index}", "type": "function", "function": function}


def plain_tools(tools: Sequence[Tool] | None) -> list[Plain]:
    """Tools as dictionaries, with the fields that were given."""
    return [_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools or ())]


def _tool(tool: Tool, place: str) -> Plain:
    if tool.type not in (None, "", "function"):
        raise UnsupportedParameter(
            f"{place}.type is {tool.type[:100]!r}; only function is supported",
            param=f"{place}.type",
        )
    function: Plain = {"name": tool.function.name}
    for name in ("description", "parameters"):
        if (value := getattr(tool.function, name)) is not None:
            function[name] = value
    return {"type": "function", "function": function}


def is_empty(asked: ChatRequest | GenerateRequest) -> bool:
    """Whether nothing is asked but that the model be loaded."""
    if isinstance(asked, ChatRequest):
        return not asked.messages
    return not asked.prompt


def prompt_messages(asked: GenerateRequest) -> list[Plain]:
    """A completion as a chat: a system prompt, if given, and what the user says."""
    system = [{"role": "system", "content": asked.system}] if asked.system else []
    return [*system, {"role": "user", "content": asked.prompt or ""}]
