"""A conversation, and its text in the chat format: ChatML with tools as Qwen writes them.

`chat_template.jinja` is the same format for everyone who loads the model; a test compares the two.
"""

import json
from dataclasses import dataclass, field
from typing import Any

Turn = tuple[str, str]

TOOLS_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
TOOLS_AFTER = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


@dataclass(slots=True)
class Conversation:
    """Turns of user and assistant; a system message and the tools given, where there are any."""

    turns: list[Turn] = field(default_factory=list)
    system: str = ""
    tools: list[dict[str, Any]] = field(default_factory=list)


def call_text(name: str, arguments: dict[str, Any]) -> str:
    """A tool call as the assistant writes it."""
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


def response_text(result: Any) -> str:
    """A tool's result as the user's turn shows it."""
    return f"<tool_response>\n{json.dumps(result, ensure_ascii=False)}\n</tool_response>"


def system_text(conversation: Conversation) -> str:
    """The system message with the tools' signatures, empty when there is neither."""
    if not conversation.tools:
        return conversation.system
    start = f"{conversation.system}\n\n" if conversation.system else ""
    signatures = "".join("\n" + json.dumps(tool, ensure_ascii=False) for tool in conversation.tools)
    return start + TOOLS_BEFORE + signatures + TOOLS_AFTER


def pieces(conversation: Conversation) -> list[tuple[str, bool]]:
    """The conversation's text cut where training on it starts or stops: (text, trained)."""
    parts: list[tuple[str, bool]] = []
    system = system_text(conversation)
    if system:
        parts.append((f"<|im_start|>system\n{system}<|im_end|>\n", False))
    for user, assistant in conversation.turns:
        parts.append((f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n", False))
        parts.append((f"{assistant}<|im_end|>", True))
        parts.append(("\n", False))
    return parts
