"""Which format is read is told by the chat template, or by name."""

from __future__ import annotations

import pytest
from dovetail.text.calls.table import CALL_NAMES, CALLS, REASONING, REASONING_NAMES, choose

# what templates of these models hold, in short
TEMPLATES = {
    ("hermes", "none"): "{{ tools }}<tool_call>\n{...}\n</tool_call>",
    ("hermes", "think"): "<tool_call>\n{..}\n</tool_call> {{ '<think>' }} </think>",
    ("qwen3_coder", "none"): "<tool_call>\n<function=f>\n<parameter=p>\n</tool_call>",
    (
        "glm45",
        "think",
    ): "<tool_call>{name}\n<arg_key>k</arg_key>\n<arg_value></tool_call><think></think>",
    ("llama3_json", "none"): "<|start_header_id|>ipython{{ '\"parameters\": ' }}<|python_tag|>",
    ("llama4_pythonic", "none"): "<|header_start|> [func_name1(params_name1=params_value1), ...]",
    ("mistral", "none"): "[TOOL_CALLS] [AVAILABLE_TOOLS]",
    ("mistral", "mistral"): "[TOOL_CALLS]name[ARGS] [THINK]",
    ("deepseek_v3", "think"): "<｜tool▁calls▁begin｜>...```json </think>",
    ("deepseek_v31", "think"): "<｜tool▁calls▁begin｜>... <think> </think>",
    ("gpt_oss", "gpt_oss"): "<|start|>assistant<|channel|>analysis<|message|>",
    ("granite", "granite"): "<|start_of_role|><|tool_call|> 'Here is my thought process:'",
    ("phi4_mini_json", "none"): "<|tool|>{{ tools }}<|/tool|>",
    ("functiongemma", "none"): "<start_function_declaration><start_function_call>call:",
    ("none", "none"): "{{ messages }}",
}


@pytest.mark.parametrize(("names", "template"), TEMPLATES.items())
def test_templates_tell_their_formats(names: tuple[str, str], template: str) -> None:
    chosen = choose(template)
    assert (
        chosen.calls.name if chosen.calls else "none",
        chosen.reasoning.name if chosen.reasoning else "none",
    ) == names
    assert "by the chat template" in str(chosen)


def test_every_format_can_be_told_and_named() -> None:
    assert {names[0] for names in TEMPLATES} >= {form.name for _, form in CALLS}
    assert {names[1] for names in TEMPLATES} >= {form.name for _, form in REASONING}
    for name in CALL_NAMES:
        assert (choose(None, calls=name).calls is None) == (name == "none")
    for name in REASONING_NAMES:
        assert (choose(None, reasoning=name).reasoning is None) == (name == "none")


def test_a_name_holds_against_the_template_and_none_turns_it_off() -> None:
    template = "<tool_call></tool_call><think>"
    chosen = choose(template, calls="mistral", reasoning="none")
    assert chosen.calls is not None and chosen.calls.name == "mistral" and chosen.reasoning is None
    assert choose(template, takes_tools=False).calls is None


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean hermes"):
        choose("", calls="hermez")
    with pytest.raises(ValueError, match="did you mean deepseek_r1"):
        choose("", reasoning="deepseek-r1")
