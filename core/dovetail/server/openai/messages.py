"""Messages and tools of a request, as a chat template wants them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from dovetail.errors import InvalidParameter, UnsupportedParameter

from .schema import ContentPart, Message, Tool, ToolCall

# role -> what templates call it
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def plain_messages(messages: Sequence[Message] | None) -> list[dict[str, Any]]:
    """Messages as dictionaries; raises RequestError that names the message at fault."""
    if not messages:
        raise InvalidParameter(
            "messages must hold at least one message, each with role and content", param="messages"
        )
    return [_plain(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _plain(message: Message, place: str) -> dict[str, Any]:
    if message.role not in ROLES:
        raise InvalidParameter(
            f"{place}.role is {message.role[:100]!r}; it must be one of {', '.join(ROLES)}",
            param=f"{place}.role",
        )
    if message.function_call is not None or message.audio is not None:
        name = "function_call" if message.function_call is not None else "audio"
        raise UnsupportedParameter(f"{place}.{name} is not supported", param=f"{place}.{name}")
    content = _content(message.content, f"{place}.content")
    if content is None and not message.tool_calls and message.role != "assistant":
        raise InvalidParameter(f"{place}.content is missing", param=f"{place}.content")
    plain: dict[str, Any] = {"role": ROLES[message.role], "content": content or ""}
    if message.tool_calls:
        plain["tool_calls"] = [_call(call) for call in message.tool_calls]
    for name in ("name", "tool_call_id", "reasoning_content"):
        if (value := getattr(message, name)) is not None:
            plain[name] = value
    if message.reasoning is not None:
        plain.setdefault("reasoning_content", message.reasoning)
    return plain


def _content(content: str | list[ContentPart] | None, place: str) -> str | None:
    """Text of a message; parts are joined by line ends."""
    if content is None or isinstance(content, str):
        return content
    texts = []
    for i, part in enumerate(content):
        if part.type not in ("text", "refusal"):
            raise UnsupportedParameter(
                f"{place}[{i}].type is {part.type[:100]!r}; this model takes text only",
                param=f"{place}[{i}].type",
            )
        text = part.text if part.type == "text" else part.refusal
        if text is None:
            raise InvalidParameter(f"{place}[{i}].{part.type} is missing", param=f"{place}[{i}]")
        texts.append(text)
    return "\n".join(texts)


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.function.name, "arguments": arguments_of(call.function.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def arguments_of(given: str | dict[str, Any]) -> str | dict[str, Any]:
    """A call's arguments as an object, where they are one: templates write them as JSON themselves."""
    if not isinstance(given, str):
        return given
    try:
        decoded = json.loads(given) if given.strip() else {}
    except (ValueError, RecursionError):
        return given
    return decoded if isinstance(decoded, dict) else given


def plain_tools(tools: Sequence[Tool] | None) -> list[dict[str, Any]]:
    """Tools as dictionaries, with the fields that were given."""
    plain = []
    for i, tool in enumerate(tools or ()):
        if tool.type != "function":
            raise UnsupportedParameter(
                f"tools[{i}].type is {tool.type[:100]!r}; only function is supported",
                param=f"tools[{i}].type",
            )
        function = msgspec.to_builtins(tool.function)
        fields = {name: value for name, value in function.items() if value is not None}
        fields.pop("strict", None)  # no word of a chat template
        plain.append({"type": "function", "function": fields})
    return plain


def strict_names(tools: Sequence[Tool] | None) -> frozenset[str]:
    """Names of the tools whose arguments are to be what their schemas allow."""
    return frozenset(tool.function.name for tool in tools or () if tool.function.strict)
