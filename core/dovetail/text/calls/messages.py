"""Messages as the chat template of a format wants them: how it takes arguments, ids of calls, and earlier reasoning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .format import ALPHANUMERIC, Format

Message = Mapping[str, Any]


def adapted(messages: Sequence[Message], form: Format) -> list[dict[str, Any]]:
    """Messages for a template of this format.

    Arguments are objects, or text where the template puts it down as it is. Results get the name of the function that was
    called. Ids are shortened where only short ones are taken. gpt-oss calls earlier reasoning thinking.
    """
    names: dict[str, str] = {}
    return [_adapted(message, form, names) for message in messages]


def _adapted(message: Message, form: Format, names: dict[str, str]) -> dict[str, Any]:
    plain = dict(message)
    if calls := message.get("tool_calls"):
        names |= {call["id"]: call["function"]["name"] for call in calls if call.get("id")}
        plain["tool_calls"] = [_call(call, form) for call in calls]
    if (call_id := message.get("tool_call_id")) is not None:
        if "name" not in plain and call_id in names:
            plain["name"] = names[call_id]
        plain["tool_call_id"] = short_id(call_id) if form.short_ids else call_id
    if form.whole:
        reasoning = plain.pop("reasoning_content", None)
        if reasoning and not (calls and message.get("content")):  # the template takes one of them
            plain["thinking"] = reasoning
    return plain


def _call(call: Message, form: Format) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    if form.text_arguments and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    plain = {**call, "function": {**function, "arguments": arguments}}
    if form.short_ids and call.get("id"):
        plain["id"] = short_id(call["id"])
    return plain


def short_id(call_id: str) -> str:
    """Nine letters or digits: the id itself if it is so, else the same for the same id."""
    if len(call_id) == 9 and call_id.isascii() and call_id.isalnum():
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "replace")).digest()
    return "".join(ALPHANUMERIC[byte % len(ALPHANUMERIC)] for byte in digest[:9])
