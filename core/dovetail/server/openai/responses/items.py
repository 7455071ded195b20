"""Items of the input -> messages for the chat template, and -> the form in which they are listed."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.server.openai.messages import ROLES, arguments_of

from .schema import InputItem, InputPart

TEXT = ("input_text", "output_text", "text", "reasoning_text", "summary_text")
PREFIX = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


def listed(given: str | Sequence[InputItem] | None) -> list[dict[str, Any]]:
    """The input as it is kept: every item with type, id and content in parts. Raises RequestError."""
    if given is None or not given:
        raise InvalidParameter("input is missing or empty", param="input")
    if isinstance(given, str):
        given = [InputItem(role="user", content=given)]
    return [_listed(item, f"input[{i}]") for i, item in enumerate(given)]


def _listed(item: InputItem, place: str) -> dict[str, Any]:
    kind = item.type or "message"
    if kind not in PREFIX:
        raise UnsupportedParameter(
            f"{place}.type is {kind[:100]!r}; it can be one of {', '.join(PREFIX)}",
            param=f"{place}.type",
        )
    made = {"id": item.id or f"{PREFIX[kind]}_{secrets.token_hex(16)}", "type": kind}
    if item.encrypted_content is not None:
        raise UnsupportedParameter(
            f"{place}.encrypted_content is not supported; reasoning is kept as text",
            param=f"{place}.encrypted_content",
        )
    return made | LISTED[kind](item, place)


def _message(item: InputItem, place: str) -> dict[str, Any]:
    if item.role not in ROLES or item.role == "tool":
        roles = ", ".join(role for role in ROLES if role != "tool")
        raise InvalidParameter(
            f"{place}.role is {str(item.role)[:100]!r}; it must be one of {roles}",
            param=f"{place}.role",
        )
    own = item.role == "assistant"
    kind = "output_text" if own else "input_text"
    texts = _texts(item.content, f"{place}.content")
    more: dict[str, Any] = {"annotations": []} if own else {}
    content = [{"type": kind, "text": text} | more for text in texts]
    return {"role": item.role, "status": item.status or "completed", "content": content}


def _call(item: InputItem, place: str) -> dict[str, Any]:
    return {
        "call_id": _needed(item.call_id, f"{place}.call_id"),
        "name": _needed(item.name, f"{place}.name"),
        "arguments": item.arguments or "",
        "status": item.status or "completed",
    }


def _output(item: InputItem, place: str) -> dict[str, Any]:
    return {
        "call_id": _needed(item.call_id, f"{place}.call_id"),
        "output": "\n".join(_texts(item.output, f"{place}.output")),
        "status": item.status or "completed",
    }


def _reasoning(item: InputItem, place: str) -> dict[str, Any]:
    texts = _texts(item.content, f"{place}.content") if item.content is not None else []
    texts = texts or _texts(item.summary or "", f"{place}.summary")
    content = [{"type": "reasoning_text", "text": text} for text in texts if text]
    return {"summary": [], "content": content, "status": item.status or "completed"}


LISTED = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _output,
    "reasoning": _reasoning,
}


def _needed(value: str | None, place: str) -> str:
    if not value:
        raise InvalidParameter(f"{place} is missing", param=place)
    return value


def _texts(content: str | Sequence[InputPart] | None, place: str) -> list[str]:
    if content is None:
        raise InvalidParameter(f"{place} is missing", param=place)
    if isinstance(content, str):
        return [content]
    texts = []
    for i, part in enumerate(content):
        text = part.refusal if part.type == "refusal" else part.text
        if part.type not in (*TEXT, "refusal"):
            raise UnsupportedParameter(
                f"{place}[{i}].type is {part.type[:100]!r}; this model takes text only",
                param=f"{place}[{i}].type",
            )
        texts.append(_needed(text, f"{place}[{i}].text") if text is None else text)
    return texts


def messages(items: Iterable[dict[str, Any]], instructions: str | None) -> list[dict[str, Any]]:
    """For the chat template. Calls and reasoning go into the assistant's message they stand beside."""
    made: list[dict[str, Any]] = []
    if instructions:
        made.append({"role": "system", "content": instructions})
    for item in items:
        if item["type"] == "message" and item["role"] != "assistant":
            made.append({"role": ROLES[item["role"]], "content": _joined(item)})
        elif item["type"] == "function_call_output":
            made.append(
                {"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]}
            )
        else:
            _add_own(made, item)
    return made


def _add_own(made: list[dict[str, Any]], item: dict[str, Any]) -> None:
    """Something that the model said: more of its last message, unless that has it already."""
    field = {"message": "content", "reasoning": "reasoning_content"}.get(item["type"], "tool_calls")
    last = made[-1] if made and made[-1]["role"] == "assistant" else None
    full = last is None or (field != "tool_calls" and (last.get(field) or last.get("tool_calls")))
    if last is None or full:
        last = {"role": "assistant", "content": ""}
        made.append(last)
    if field == "tool_calls":
        function = {"name": item["name"], "arguments": arguments_of(item["arguments"])}
        call = {"id": item["call_id"], "type": "function", "function": function}
        last.setdefault("tool_calls", []).append(call)
    else:
        last[field] = _joined(item)


def _joined(item: dict[str, Any]) -> str:
    return "\n".join(part["text"] for part in item["content"])


def kept(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Output items in the form of input items: they are the input of what goes on from them."""
    return [msgspec.to_builtins(item) for item in items]
