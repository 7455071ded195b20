"""A conversation with calls, rendered as the models' chat templates do and read back, is the same conversation.

The templates here are short ones that write the assistant's turn as the published ones do.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from dovetail.text.calls.messages import adapted, short_id
from dovetail.text.calls.table import CALL_FORMATS, choose
from dovetail.text.template import ChatTemplate

from .vectors import CB, CE, CSB, CSE, ODD, SAVE, SEP, feed, put_together, reader_of

LOOP = "{%- for call in messages[-1].tool_calls %}{%- set f = call.function %}"
JSON_LIST = (
    LOOP + '{{- \'{"name": "\' + f.name + \'", "arguments": \' }}{{- f.arguments | tojson }}'
    "{{- '}' }}{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}{{- ']' }}"
)
TEMPLATES = {
    "hermes": LOOP + "{{- '<tool_call>\n' + '{\"name\": \"' + f.name + '\", \"arguments\": ' }}"
    "{{- f.arguments | tojson }}{{- '}\n</tool_call>' }}{%- endfor %}",
    "llama3_json": "{%- set f = messages[-1].tool_calls[0].function %}{#- <|python_tag|> #}"
    "{{- '{\"name\": \"' + f.name + '\", \"parameters\": ' }}{{- f.arguments | tojson }}{{- '}' }}",
    "llama4_pythonic": "{#- [func_name1( #}{{- '[' }}" + LOOP + "{{- f.name + '(' }}"
    "{%- for key, value in f.arguments | items %}{{- key + '=' + (value | tojson) }}"
    "{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}{{- ')' }}"
    "{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}{{- ']' }}",
    "mistral": "{{- '[TOOL_CALLS] [' }}" + LOOP + "{%- set out = f | tojson %}{{- out[:-1] }}"
    "{%- if call.id | length != 9 %}{{- raise_exception('ids have nine characters') }}{%- endif %}"
    "{{- ', \"id\": \"' + call.id + '\"}' }}{%- if not loop.last %}{{- ', ' }}{%- endif %}"
    "{%- endfor %}{{- ']' }}",
    "deepseek_v3": "{{- '" + CSB + "' }}" + LOOP + "{{- '" + CB + "' + call.type + '" + SEP + "' + f.name"
    " + '\n```json\n' + f.arguments + '\n```" + CE + "' }}{%- if not loop.last %}{{- '\n' }}{%- endif %}"
    "{%- endfor %}{{- '" + CSE + "' }}",
    "deepseek_v31": "{{- '" + CSB + "' }}" + LOOP + "{{- '" + CB + "' + f.name + '" + SEP + "' + f.arguments"
    " + '" + CE + "' }}{%- endfor %}{{- '" + CSE + "' }}",
    "qwen3_coder": LOOP + "{{- '\n<tool_call>\n<function=' + f.name + '>\n' }}"
    "{%- for key, value in f.arguments | items %}{{- '<parameter=' + key + '>\n' }}"
    "{{- (value | tojson if value is mapping or (value is sequence and value is not string) else value | string) }}"
    "{{- '\n</parameter>\n' }}{%- endfor %}{{- '</function>\n</tool_call>' }}{%- endfor %}",
    "glm45": LOOP + "{{- '\n<tool_call>' + f.name }}{%- for key, value in f.arguments.items() %}"
    "{{- '\n<arg_key>' + key + '</arg_key>\n<arg_value>' }}"
    "{{- (value | tojson if value is not string else value) + '</arg_value>' }}{%- endfor %}"
    "{{- '\n</tool_call>' }}{%- endfor %}",
    "granite": "{{- '<|start_of_role|>assistant<|end_of_role|>'[:0] + '<|tool_call|>[' }}" + JSON_LIST,
    "phi4_mini_json": "{{- 'functools[' }}" + LOOP + "{{- '{\"name\": \"' + f.name + '\", \"arguments\": ' + f.arguments + '}' }}"
    "{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}{{- ']' }}",
    "functiongemma": "{%- macro argument(value) %}{%- if value is string %}{{- '<escape>' + value + '<escape>' }}"
    "{%- elif value is boolean %}{{- 'true' if value else 'false' }}"
    "{%- elif value is mapping %}{{- '{' }}{%- for k, v in value | dictsort %}{{- k + ':' + argument(v) }}"
    "{%- if not loop.last %}{{- ',' }}{%- endif %}{%- endfor %}{{- '}' }}"
    "{%- elif value is sequence %}{{- '[' }}{%- for v in value %}{{- argument(v) }}"
    "{%- if not loop.last %}{{- ',' }}{%- endif %}{%- endfor %}{{- ']' }}"
    "{%- else %}{{- value | tojson }}{%- endif %}{%- endmacro %}"
    + LOOP + "{{- '<start_function_call>call:' + f.name + '{' }}{%- for k, v in f.arguments | dictsort %}"
    "{{- k + ':' + argument(v) }}{%- if not loop.last %}{{- ',' }}{%- endif %}{%- endfor %}"
    "{{- '}<end_function_call>' }}{%- endfor %}",
    "gpt_oss": "{%- set m = messages[-1] %}{%- set f = m.tool_calls[0].function %}{#- <|start|> #}"
    "{%- if m.thinking %}{{- '<|channel|>analysis<|message|>' + m.thinking + '<|end|><|start|>assistant' }}{%- endif %}"
    "{{- ' to=functions.' + f.name + '<|channel|>commentary json<|message|>' + (f.arguments | tojson) + '<|call|>' }}",
}  # fmt: skip
SINGLE = ("llama3_json", "gpt_oss")  # whose templates write one call a turn


def turn(form: str, **fields: Any) -> list[dict[str, Any]]:
    calls = [("save", SAVE[1]), ("get_weather", {"city": ODD})]
    if form in SINGLE:
        calls = calls[:1]
    made = [
        {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(calls)
    ]
    return [{"role": "assistant", "content": "", "tool_calls": made, **fields}]


@pytest.mark.parametrize("form", CALL_FORMATS)
def test_a_turn_is_rendered_and_read_back(form: str) -> None:
    template = ChatTemplate("{{- (tools or '') and '' }}" + TEMPLATES[form])
    chosen = choose(template.source, takes_tools=template.takes_tools)
    assert chosen.calls is CALL_FORMATS[form]
    messages = turn(form, reasoning_content="I must save.")
    rendered = template.render(adapted(messages, chosen.calls))
    read = put_together(feed(reader_of(form), rendered, [7]))
    expected = [
        (c["function"]["name"], c["function"]["arguments"]) for c in messages[0]["tool_calls"]
    ]
    assert read.calls == expected and read.text.strip() == ""
    assert read.reasoning == ("I must save." if form == "gpt_oss" else "")


def test_results_get_the_name_that_was_called_and_short_ids_agree() -> None:
    answer = {"role": "tool", "content": "ok", "tool_call_id": "call_1"}
    messages = [*turn("mistral"), answer]
    for form in CALL_FORMATS.values():
        assistant, result = adapted(messages, form)
        assert result["name"] == "get_weather"
        assert assistant["tool_calls"][1]["id"] == result["tool_call_id"]
        arguments = assistant["tool_calls"][0]["function"]["arguments"]
        assert isinstance(arguments, str) == form.text_arguments
        assert (json.loads(arguments) if form.text_arguments else arguments) == SAVE[1]
    assert messages == [*turn("mistral"), answer]  # what was given is left as it is


def test_short_ids() -> None:
    assert short_id("VvvODy9mT") == "VvvODy9mT"
    ids = {short_id(f"call_{i}") for i in range(1000)}
    assert len(ids) == 1000 and all(len(i) == 9 and i.isalnum() for i in ids)
