"""Anthropic's turns and tools as a chat template wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter

from .schema import Block, CountRequest, Message, Tool

Plain = dict[str, Any]
FAILED = (
    "Error: "  # what a result that is an error begins with: templates have no other place for it
)
CLIENT_TOOLS = (None, "custom")


@dataclass(slots=True)
class Turns:
    """Turns as they are read.

    messages  as templates take them
    called    names of the tools that were called, by the call's id
    """

    messages: list[Plain] = field(default_factory=list)
    called: dict[str, str] = field(default_factory=dict)

    def add(self, message: Plain) -> None:
        """Append, or join to a neighbour of the same role: that is one turn."""
        last = self.messages[-1] if self.messages else {}
        role = message["role"]
        if last.get("role") != role or role == "tool" or last.get("tool_calls"):
            self.messages.append(message)
            return
        texts = [text for text in (last["content"], message["content"]) if text]
        last |= {**message, "content": ("" if role == "assistant" else "\n").join(texts)}


def plain_messages(asked: CountRequest) -> list[Plain]:
    """Messages as dictionaries, the system prompt first; raises RequestError that names the block at fault."""
    if not asked.messages:
        raise InvalidParameter("messages: at least one message is required", param="messages")
    turns = Turns()
    system = _texts(asked.system, "system", "\n")
    if system:
        turns.add({"role": "system", "content": system})
    for i, message in enumerate(asked.messages):
        _read(message, f"messages[{i}]", turns)
    return turns.messages


def _read(message: Message, place: str, turns: Turns) -> None:
    content = message.content
    blocks = [Block("text", text=content)] if isinstance(content, str) else content
    if message.role == "user":
        _read_user(blocks, place, turns)
    elif message.role == "assistant":
        turns.add(_assistant(blocks, place, turns))
    elif message.role == "system":
        turns.add({"role": "system", "content": _texts(content, f"{place}.content", "\n")})
    else:
        raise InvalidParameter(
            f"{place}.role is {message.role[:100]!r}; it must be user, assistant or system",
            param=f"{place}.role",
        )


def _read_user(blocks: Sequence[Block], place: str, turns: Turns) -> None:
    if not blocks:
        raise InvalidParameter(f"{place}.content is empty", param=f"{place}.content")
    for i, block in enumerate(blocks):
        at = f"{place}.content[{i}]"
        if block.type == "tool_result":
            turns.add(_result(block, at, turns))
        else:
            turns.add({"role": "user", "content": _text(block, at)})


def _result(block: Block, place: str, turns: Turns) -> Plain:
    name = turns.called.get(block.tool_use_id or "")
    if name is None:
        raise InvalidParameter(
            f"{place}.tool_use_id is {str(block.tool_use_id)[:100]!r}; no tool_use block before it has that id",
            param=f"{place}.tool_use_id",
        )
    content = _texts(block.content, f"{place}.content", "\n")
    if block.is_error:
        content = FAILED + content
    return {"role": "tool", "tool_call_id": block.tool_use_id, "name": name, "content": content}


def _assistant(blocks: Sequence[Block], place: str, turns: Turns) -> Plain:
    """Text, calls and reasoning. What Anthropic has encrypted (redacted_thinking) nobody else can read: it is left out."""
    texts, calls, thoughts = [], [], []
    for i, block in enumerate(blocks):
        at = f"{place}.content[{i}]"
        if block.type == "tool_use":
            calls.append(_call(block, at, turns))
        elif block.type == "thinking":
            thoughts.append(block.thinking or "")
        elif block.type != "redacted_thinking":
            texts.append(_text(block, at))
    plain: Plain = {"role": "assistant", "content": "".join(texts)}
    if calls:
        plain["tool_calls"] = calls
    if any(thoughts):
        plain["reasoning_content"] = "".join(thoughts)
    return plain


def _call(block: Block, place: str, turns: Turns) -> Plain:
    if not block.id or not block.name:
        missing = "name" if block.id else "id"
        raise InvalidParameter(f"{place}.{missing} is missing", param=f"{place}.{missing}")
    turns.called[block.id] = block.name
    function = {"name": block.name, "arguments": block.input or {}}
    return {"id": block.id, "type": "function", "function": function}


def _texts(content: str | Sequence[Block] | None, place: str, between: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return between.join(_text(block, f"{place}[{i}]") for i, block in enumerate(content))


def _text(block: Block, place: str) -> str:
    if block.type != "text":
        raise UnsupportedParameter(
            f"{place}.type is {block.type[:100]!r}; this model takes text only",
            param=f"{place}.type",
        )
    if block.text is None:
        raise InvalidParameter(f"{place}.text is missing", param=f"{place}.text")
    return block.text


def is_continued(messages: Sequence[Plain]) -> bool:
    """Whether the reply goes on with the last message. Raises for one that cannot be gone on with."""
    last = messages[-1]
    if last["role"] != "assistant":
        return False
    if last.get("tool_calls"):
        raise InvalidParameter(
            "messages ends with a tool_use block; a tool_result must follow it", param="messages"
        )
    if last["content"] != last["content"].rstrip():
        raise InvalidParameter(
            "the final assistant message ends with white space; the reply goes on right after it, so end it with a character",
            param="messages",
        )
    return bool(last["content"])


def plain_tools(tools: Sequence[Tool] | None) -> list[Plain]:
    """Tools as chat templates take them: OpenAI's form."""
    return [_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools or ())]


def _tool(tool: Tool, place: str) -> Plain:
    if tool.type not in CLIENT_TOOLS:
        raise UnsupportedParameter(
            f"{place}.type is {str(tool.type)[:100]!r}; only tools with an input_schema of the client are supported",
            param=f"{place}.type",
        )
    unsupported = {
        "defer_loading": bool(tool.defer_loading),
        "allowed_callers": tool.allowed_callers not in (None, ["direct"]),
        "input_examples": bool(tool.input_examples),
    }
    for name, given in unsupported.items():
        if given:
            raise UnsupportedParameter(
                f"{place}.{name} is not supported; leave it out", param=f"{place}.{name}"
            )
    if tool.input_schema is None:
        raise InvalidParameter(f"{place}.input_schema is missing", param=f"{place}.input_schema")
    if not 0 < len(tool.name) <= 128:
        raise InvalidParameter(
            f"{place}.name has {len(tool.name)} characters; it must have 1 to 128",
            param=f"{place}.name",
        )
    function: Plain = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}
