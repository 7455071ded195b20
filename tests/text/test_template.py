"""Chat templates: what Hugging Face's expect is there, and what would harm is not."""

from __future__ import annotations

import pytest
from dovetail.errors import CheckpointError, InvalidParameter, RequestError
from dovetail.text.template import ChatTemplate

HELLO = [{"role": "user", "content": "Hello"}]


def render(source: str, **options: object) -> str:
    return ChatTemplate(source, {"bos_token": "<s>"}, time_limit_s=0.2).render(HELLO, **options)  # type: ignore[arg-type]


def test_special_tokens_blocks_and_loop_controls() -> None:
    source = (
        "{{ bos_token }}\n"
        "{% for m in messages %}\n"
        "    {% if m.role == 'system' %}{% continue %}{% endif %}\n"
        "{{ m['role'] ~ ': ' ~ m.content }}\n"
        "{% endfor %}\n"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    assert render(source) == "<s>\nuser: Hello\nassistant:"


def test_json_is_not_escaped_for_html() -> None:
    tools = [{"name": "<größe> & 'so'"}]
    assert render("{{ tools | tojson }}", tools=tools) == '[{"name": "<größe> & \'so\'"}]'
    assert render("{{ {'a': 1} | tojson(indent=2) }}") == '{\n  "a": 1\n}'


def test_generation_tags_and_the_clock() -> None:
    assert render("{% generation %}x{% endgeneration %}") == "x"
    assert len(render("{{ strftime_now('%Y') }}")) == 4


def test_variables_of_the_request_reach_the_template() -> None:
    source = "{% if enable_thinking is defined and not enable_thinking %}quick{% endif %}"
    assert render(source, enable_thinking=False) == "quick"
    assert render(source) == ""


def test_what_a_template_takes_is_known() -> None:
    template = ChatTemplate("{% if tools %}{{ tools }}{% endif %}")
    assert template.takes_tools and not template.takes_documents


def test_the_last_message_can_be_continued() -> None:
    messages = [*HELLO, {"role": "assistant", "content": "Once upon "}]
    template = ChatTemplate("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    text = template.render(messages, add_generation_prompt=False, continue_final_message=True)
    assert text == "[Hello][Once upon"
    with pytest.raises(InvalidParameter, match="exclude each other"):
        template.render(messages, continue_final_message=True)


def test_a_template_that_refuses_says_why() -> None:
    with pytest.raises(InvalidParameter, match="roles must alternate") as error:
        render("{{ raise_exception('roles must alternate') }}")
    assert error.value.param == "messages"


def test_a_template_that_does_not_compile_is_a_bad_checkpoint() -> None:
    with pytest.raises(CheckpointError, match="not valid Jinja"):
        ChatTemplate("{% for %}")


@pytest.mark.defends(
    "code in checkpoints",
    "chat templates run in an immutable sandbox",
    without=(
        "dovetail.text.sandbox",
        "class ChatEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):",
        "class ChatEnvironment(jinja2.Environment):",
    ),
)
@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ messages.__init__.__globals__ }}",
        "{% for i in range(10**8) %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{{ 'x' * 10**9 }}",
        "{{ [1] * 10**9 }}",
        "{{ 9**99999 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ 'x'.ljust(10**9) }}",
        "{{ ('x' * 10**6).replace('x', 'y' * 10**6) }}",
        "{% set ns = namespace(x='ab') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}xxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
        "{{ 'a\nb' | indent(10**9) }}",
        "{{ messages | tojson(indent=10**9) }}",
        "{{ nothing.here }}",
    ],
)
def test_harm_is_refused(source: str) -> None:
    with pytest.raises(RequestError, match="chat template"):
        render(source)


@pytest.mark.defends(
    "code in checkpoints",
    "a template has so much time",
    without=("dovetail.text.bounds", "if time.monotonic() > self.deadline:", "if False:"),
)
def test_a_template_that_takes_too_long_is_stopped() -> None:
    source = "{% for i in range(600) %}{% for j in range(600) %}{% endfor %}{% endfor %}"
    with pytest.raises(RequestError, match="ran for more than"):
        ChatTemplate(source, time_limit_s=0.02).render(HELLO)


@pytest.mark.defends(
    "code in checkpoints",
    "a template writes so much and no more",
    without=("dovetail.text.template", "if size > MAX_CHARACTERS:", "if False:"),
)
def test_a_template_that_writes_too_much_is_stopped() -> None:
    source = "{% for i in range(2000) %}{{ 'x' * 10000 }}{% endfor %}"
    with pytest.raises(RequestError, match="longer than 16777216 characters"):
        ChatTemplate(source).render(HELLO)
