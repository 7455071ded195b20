"""Replies as the models' documentation and chat templates show them, and what they say. Used by the tests beside this file.

Text is written here from the published forms; the sources are named in the docstrings of dovetail/text/calls.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from dovetail.text.calls.reader import Reader
from dovetail.text.calls.table import CALL_FORMATS, REASONING_FORMATS
from dovetail.text.parts import (
    CallArguments,
    CallEnd,
    CallStart,
    Part,
    Reasoning,
    Text,
)

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
    },
    "required": ["city"],
}
EVERYTHING = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "on": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {
            "type": "object",
            "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
            "required": ["x"],
            "additionalProperties": False,
        },
        "note": {"type": ["string", "null"]},
    },
    "required": ["text", "count", "tags"],
    "additionalProperties": False,
}
TOOLS: dict[str, dict[str, Any]] = {
    "get_weather": WEATHER,
    "save": EVERYTHING,
    "now": {"type": "object", "properties": {}},
}


@dataclass
class Read:
    """A reply, its parts put together."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)


def put_together(parts: list[Part]) -> Read:
    """Checks the order of parts on the way."""
    read, ids, at = Read(), set[str](), None
    for part in parts:
        match part:
            case Text(text):
                assert at is None and text
                read.text += text
            case Reasoning(text):
                assert at is None and text
                read.reasoning += text
            case CallStart(index, call_id, name):
                assert at is None and index == len(read.raw) and call_id not in ids
                ids.add(call_id)
                at = index
                read.raw.append("")
                read.calls.append((name, None))
            case CallArguments(index, text):
                assert index == at and text
                read.raw[index] += text
            case CallEnd(index):
                assert index == at
                at = None
    assert at is None
    for index, (name, _) in enumerate(read.calls):
        try:
            arguments: Any = json.loads(read.raw[index])
        except ValueError:
            arguments = None
        read.calls[index] = (name, arguments)
    return read


def reader_of(form: str, *, tools: dict[str, Any] | None = None, **options: Any) -> Reader:
    calls = CALL_FORMATS[form]
    if calls.whole:
        options.setdefault("reasoning", REASONING_FORMATS["gpt_oss"])
    return Reader(calls=calls, tools=TOOLS if tools is None else tools, **options)


def merged(parts: list[Part]) -> list[Part]:
    """Adjacent pieces of a kind joined, ids left out: what must not depend on how the text was cut."""
    out: list[Part] = []
    for part in parts:
        last = out[-1] if out else None
        if isinstance(part, CallStart):
            out.append(CallStart(part.index, "", part.name))
        elif isinstance(part, Text) and isinstance(last, Text):
            out[-1] = Text(last.text + part.text)
        elif isinstance(part, Reasoning) and isinstance(last, Reasoning):
            out[-1] = Reasoning(last.text + part.text)
        elif isinstance(part, CallArguments) and isinstance(last, CallArguments):
            out[-1] = CallArguments(part.index, last.text + part.text)
        else:
            out.append(part)
    return out


def feed(reader: Reader, text: str, sizes: list[int] | None = None) -> list[Part]:
    """Parts of a text fed in pieces of these sizes, over and over; whole if there are none."""
    parts: list[Part] = []
    at = turn = 0
    while at < len(text):
        size = sizes[turn % len(sizes)] if sizes else len(text)
        parts += reader.push(text[at : at + size])
        at, turn = at + size, turn + 1
    return parts + reader.flush()


PARIS: tuple[str, Any] = ("get_weather", {"city": "Paris", "days": 3})
ROME: tuple[str, Any] = ("get_weather", {"city": "Rome"})
NOW: tuple[str, Any] = ("now", {})
ODD = 'a "quote", a \\ and\na line, 你好 🎉 {[(<x>)]}'
SAVE: tuple[str, Any] = (
    "save",
    {
        "text": ODD,
        "count": 42,
        "share": -0.5,
        "on": True,
        "tags": ["a", "b c"],
        "place": {"x": 1, "y": -2},
        "note": None,
    },
)
_SAVE = json.dumps(SAVE[1], ensure_ascii=False)
_PYTHON = (
    "text='a \"quote\", a \\\\ and\\na line, 你好 \\U0001F389 {[(<x>)]}', count=42, share=-0.5, "
    "on=True, tags=['a', \"b c\"], place={'x': 1, 'y': -2}, note=None"
)
_XML = {
    "text": ODD,
    "count": "42",
    "share": "-0.5",
    "on": "True",
    "tags": '["a", "b c"]',
    "place": '{"x": 1, "y": -2}',
    "note": "null",
}
_CODER = "".join(f"<parameter={k}>\n{v}\n</parameter>\n" for k, v in _XML.items())
_GLM = "".join(f"<arg_key>{k}</arg_key>\n<arg_value>{v}</arg_value>\n" for k, v in _XML.items())
_GEMMA = (
    f"text:<escape>{ODD}<escape>,count:42,share:-0.5,on:true,tags:[<escape>a<escape>,"
    "<escape>b c<escape>],place:{x:1,y:-2},note:null"
)
SEP, CB, CE = "<｜tool▁sep｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
CSB, CSE = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"

# format, reply, text, calls
VECTORS: list[tuple[str, str, str, list[tuple[str, Any]]]] = [
    (
        "hermes",
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}\n</tool_call>',
        "",
        [PARIS],
    ),
    (
        "hermes",
        'I will look.\n\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}\n</tool_call>\n'
        f'<tool_call>\n{{"name": "save", "arguments": {_SAVE}}}\n</tool_call>\n',
        "I will look.",
        [PARIS, SAVE],
    ),
    (
        "hermes",
        '<tool_call>{"arguments": "{\\"city\\": \\"Rome\\"}", "name": "get_weather"}</tool_call>',
        "",
        [ROME],
    ),
    ("hermes", '<tool_call>{"name": "now"}</tool_call>', "", [NOW]),
    (
        "llama3_json",
        '{"name": "get_weather", "parameters": {"city": "Paris", "days": 3}}',
        "",
        [PARIS],
    ),
    (
        "llama3_json",
        f'<|python_tag|>{{"type": "function", "name": "now", "parameters": {{}}}}; {{"name": "save", "parameters": {_SAVE}}}',
        "",
        [NOW, SAVE],
    ),
    ("llama4_pythonic", '[get_weather(city="Paris", days=3), now()]', "", [PARIS, NOW]),
    (
        "llama4_pythonic",
        f"<|python_start|>[get_weather(city='Rome'), save({_PYTHON})]<|python_end|>",
        "",
        [ROME, SAVE],
    ),
    (
        "mistral",
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}, "id": "VvvODy9mT"}]',
        "",
        [PARIS],
    ),
    (
        "mistral",
        f'[TOOL_CALLS][{{"name": "now", "arguments": {{}}}}, {{"name": "save", "arguments": {_SAVE}}}]',
        "",
        [NOW, SAVE],
    ),
    (
        "mistral",
        f'Sure.[TOOL_CALLS]get_weather[ARGS]{{"city": "Paris", "days": 3}}[TOOL_CALLS]save[ARGS]{_SAVE}',
        "Sure.",
        [PARIS, SAVE],
    ),
    ("mistral", '[TOOL_CALLS]get_weather{"city": "Rome"}', "", [ROME]),
    (
        "mistral",
        '[TOOL_CALLS]get_weather[CALL_ID]VvvODy9mT[ARGS]{"city": "Rome"}',
        "",
        [ROME],
    ),
    (
        "deepseek_v3",
        f'{CSB}{CB}function{SEP}get_weather\n```json\n{{"city": "Paris", "days": 3}}\n```{CE}\n'
        f"{CB}function{SEP}save\n```json\n{_SAVE}\n```{CE}{CSE}",
        "",
        [PARIS, SAVE],
    ),
    (
        "deepseek_v31",
        f'Let me see.{CSB}{CB}get_weather{SEP}{{"city": "Paris", "days": 3}}{CE}{CB}save{SEP}{_SAVE}{CE}{CSE}',
        "Let me see.",
        [PARIS, SAVE],
    ),
    (
        "qwen3_coder",
        "I look.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
        "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"
        f"\n<tool_call>\n<function=save>\n{_CODER}</function>\n</tool_call>",
        "I look.",
        [PARIS, SAVE],
    ),
    ("qwen3_coder", "<tool_call>\n<function=now>\n</function>\n</tool_call>", "", [NOW]),
    (
        "qwen3_coder",
        "<function=get_weather><parameter=city>Rome</parameter></function>",
        "",
        [ROME],
    ),
    (
        "glm45",
        "Fine.\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
        "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>"
        f"\n<tool_call>save\n{_GLM}</tool_call>",
        "Fine.",
        [PARIS, SAVE],
    ),
    ("glm45", "<tool_call>now</tool_call>", "", [NOW]),
    (
        "glm45",
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Rome</arg_value></tool_call>",
        "",
        [ROME],
    ),
    (
        "granite",
        f'<|tool_call|> [{{"arguments": {{"city": "Paris", "days": 3}}, "name": "get_weather"}}, {{"name": "save", "arguments": {_SAVE}}}]',
        "",
        [PARIS, SAVE],
    ),
    ("granite", '<tool_call>[{"name": "now", "arguments": {}}]', "", [NOW]),
    (
        "phi4_mini_json",
        f'functools[{{"name": "get_weather", "arguments": {{"city": "Paris", "days": 3}}}}, {{"name": "save", "arguments": {_SAVE}}}]',
        "",
        [PARIS, SAVE],
    ),
    (
        "phi4_mini_json",
        '<|tool_call|>[{"name": "now", "arguments": {}}]<|/tool_call|>',
        "",
        [NOW],
    ),
    (
        "functiongemma",
        f"<start_function_call>call:get_weather{{city:<escape>Paris<escape>,days:3}}<end_function_call>"
        f"<start_function_call>call:save{{{_GEMMA}}}<end_function_call>",
        "",
        [PARIS, SAVE],
    ),
    ("functiongemma", "<start_function_call>call:now{}<end_function_call>", "", [NOW]),
    (
        "gpt_oss",
        "<|channel|>analysis<|message|>The user wants weather.<|end|><|start|>assistant<|channel|>commentary "
        'to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris", "days": 3}<|call|>',
        "",
        [PARIS],
    ),
    (
        "gpt_oss",
        "<|channel|>commentary<|message|>I look it up.<|end|><|start|>assistant to=functions.save<|channel|>commentary "
        f"<|constrain|>json<|message|>{_SAVE}",
        "I look it up.",
        [SAVE],
    ),
]
