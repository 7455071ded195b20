"""Structured output over HTTP: what each field asks for, and what is refused."""

from __future__ import annotations

import asyncio
import json
import re

import jsonschema
import pytest
from dovetail.errors import InvalidParameter
from dovetail.structured import Grammar
from dovetail.structured.check import GrammarCheck

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "role": {"enum": ["user", "owner"]},
    },
    "required": ["name", "age", "role"],
    "additionalProperties": False,
}
MESSAGES = [{"role": "user", "content": "hi"}]


def chat(server, **fields):
    return server.post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 500, **fields})


def text_of(answer) -> str:
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "stop", choice
    return choice["message"]["content"] if "message" in choice else choice["text"]


def is_person(text: str) -> None:
    jsonschema.validate(json.loads(text), PERSON)


def one_of(*options: str):
    def check(text: str) -> None:
        assert text in options

    return check


def matches(pattern: str):
    def check(text: str) -> None:
        assert re.fullmatch(pattern, text), text

    return check


ASKED = {
    "json_schema": (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "person", "schema": PERSON, "strict": True},
            }
        },
        is_person,
    ),
    "structured json": ({"structured_outputs": {"json": PERSON}}, is_person),
    "structured json text": ({"structured_outputs": {"json": json.dumps(PERSON)}}, is_person),
    "guided_json": ({"guided_json": PERSON}, is_person),
    "regex": ({"structured_outputs": {"regex": r"[ab]{2}-\d"}}, matches(r"[ab]{2}-[0-9]")),
    "guided_regex": ({"guided_regex": r"x[yz]/w"}, matches("x[yz]/w")),
    "choice": ({"structured_outputs": {"choice": ["yes", 'n"o']}}, one_of("yes", 'n"o')),
    "guided_choice": ({"guided_choice": ["left", "right"]}, one_of("left", "right")),
    "lark": (
        {"structured_outputs": {"grammar": 'start: "a" b\nb: "x" | "y"'}},
        one_of("ax", "ay"),
    ),
}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_reply_has_the_form_that_was_asked_for(server, name, path):
    fields, check = ASKED[name]
    body = {"messages": MESSAGES} if "chat" in path else {"prompt": "hi"}
    for seed in range(3):
        status, answer = server.post(path, {**body, **fields, "max_tokens": 400, "seed": seed})
        assert status == 200, answer
        check(text_of(answer))


@pytest.mark.parametrize("name", ["json_schema", "regex", "lark"])
def test_a_reply_of_a_form_is_streamed_as_it_is_whole(server, name):
    fields, _ = ASKED[name]
    asked = {"model": "tiny", "messages": MESSAGES, "max_tokens": 400, "seed": 5, "temperature": 1}
    with server.client() as client:
        whole = client.chat.completions.create(**asked, extra_body=fields).choices[0]
        stream = client.chat.completions.create(**asked, extra_body=fields, stream=True)
        chunks = [chunk.choices[0] for chunk in stream]
    assert "".join(c.delta.content or "" for c in chunks) == whole.message.content
    assert [c.finish_reason for c in chunks if c.finish_reason] == [whole.finish_reason]


REFUSED = {
    "two forms": (
        {"guided_json": PERSON, "response_format": {"type": "json_object"}},
        "guided_json",
    ),
    "two guided": ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_choice"),
    "unknown type": ({"response_format": {"type": "xml"}}, "response_format"),
    "no schema": ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    "bad name": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
        "response_format.json_schema.name",
    ),
    "not a schema": ({"guided_json": 5}, "guided_json"),
    "look-ahead": ({"guided_regex": "a(?=b)"}, "guided_regex"),
    "lark without a rule": (
        {"structured_outputs": {"grammar": "start: b"}},
        "structured_outputs.grammar",
    ),
    "unknown option": ({"structured_outputs": {"yaml": "a"}}, "structured_outputs.yaml"),
    "no strings": ({"guided_choice": []}, "guided_choice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_form_that_cannot_be_kept_is_refused_by_name(server, name):
    fields, param = REFUSED[name]
    status, answer = chat(server, **fields)
    assert status == 400, answer
    assert answer["error"]["param"] == param
    assert param.partition(".")[0] in answer["error"]["message"]


TAGGED = {
    "triggers": ["<f="],
    "structures": [{"begin": "<f=a>", "schema": {"type": "boolean"}, "end": "</f>"}],
}


def test_structural_tags_are_kept_where_they_begin(server):
    status, answer = chat(
        server, structured_outputs={"structural_tag": TAGGED}, max_tokens=200, min_tokens=200
    )
    assert status == 200, answer
    text = answer["choices"][0]["message"]["content"]
    assert all(
        re.match("<f=a>(true|false)</f>", text[found.start() :])
        for found in re.finditer("<f=", text[:-20])
    )


def test_gbnf_is_read(server):
    grammar = 'root ::= word ("," word)*\nword ::= "ab" | "cd"'
    status, answer = chat(server, structured_outputs={"grammar": grammar}, max_tokens=40)
    assert status == 200, answer
    assert set(answer["choices"][0]["message"]["content"]) <= set("abcd,")


HOSTILE = {
    "left recursion": {"grammar": 'start: start start | "a"'},
    "self": {"grammar": "start: start"},
    "nothing": {"grammar": 'start: ""'},
    "endless": {"grammar": 'start: "a" b\nb: "x" b'},
    "nested repetition": {"grammar": 'start: (("a"{1,1000}){1,1000}){1,1000}'},
    "many rules": {
        "grammar": "start: r0\n"
        + "\n".join(f'r{i}: "a" r{(i + 1) % 5000} | "b" r{(i + 7) % 5000}' for i in range(5000))
    },
    "chain of terminals": {
        "grammar": "start: R0\n"
        + "\n".join(f"R{i}: R{i + 1}" for i in range(8000))
        + '\nR8000: "a"'
    },
    "doubling": {
        "grammar": "start: R0\n"
        + "\n".join(f"R{i}: R{i + 1} R{i + 1}" for i in range(40))
        + '\nR40: "a"'
    },
    "parentheses": {"grammar": "start: " + "(" * 20_000 + '"a"' + ")" * 20_000},
    "quantifiers": {"regex": "(((((a{1,30}){1,30}){1,30}){1,30}){1,30})"},
    "alternatives": {"regex": "(a|aa)*" * 200},
    "many choices": {"choice": [f"option {n}" for n in range(5000)]},
    "large": {"regex": "a" * 300_000},
    "deep schema": {"json": json.loads('{"properties":{"a":' * 60 + "{}" + "}}" * 60)},
    "loop": {
        "json": {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
        }
    },
    "product": {
        "json": {
            "allOf": [
                {"anyOf": [{"properties": {f"p{a}_{b}": {"type": "null"}}} for b in range(4)]}
                for a in range(12)
            ]
        }
    },
    "many properties": {
        "json": {"properties": {f"p{n}": {"type": "integer"} for n in range(3000)}}
    },
    "division": {"json": {"type": "integer", "multipleOf": 999_983}},
}


def test_hostile_grammars_harm_nobody(server):
    """Each is answered, by 400 or by what it asks for; a stream beside them gets the tokens it gets alone."""
    body = {"prompt": "a stream", "max_tokens": 300, "seed": 7, "temperature": 1.0}
    _, alone = server.post("/v1/completions", {**body, "ignore_eos": True})
    with server.client() as client:
        stream = client.completions.create(
            model="tiny", stream=True, extra_body={"ignore_eos": True}, **body
        )
        read = [next(iter(stream)).choices[0].text]
        statuses = {}
        for name, asked in HOSTILE.items():
            statuses[name], answer = chat(server, structured_outputs=asked, max_tokens=20)
            if statuses[name] != 200:
                assert answer["error"]["param"].startswith("structured_outputs"), answer
        read += [chunk.choices[0].text for chunk in stream if chunk.choices]
    assert set(statuses.values()) <= {200, 400}, statuses
    for name in (
        "self",
        "nothing",
        "doubling",
        "parentheses",
        "large",
        "loop",
        "product",
        "division",
    ):
        assert statuses[name] == 400, name
    assert "".join(read) == alone["choices"][0]["text"]
    assert server.post("/v1/completions", {"prompt": "x", "max_tokens": 1})[0] == 200


@pytest.mark.defends(
    "costly grammars",
    "the process that checks grammars may die: it is started again, and nobody else notices",
    without=("dovetail.structured.check", "for _ in range(2):", "for _ in range(1):"),
)
def test_a_checker_that_dies_is_replaced(server):
    """As after a grammar that takes all the memory there is."""
    chat(server, guided_regex="first", max_tokens=5)
    server.served.grammars._process._popen.kill()
    server.served.grammars._process._popen.wait()
    assert chat(server, guided_regex="second", max_tokens=6)[0] == 200


def test_a_checker_may_be_started_before_it_is_needed(server):
    check = GrammarCheck(server.served.text.tokenizer.backend, 512)
    check.prepare()
    process = check._thread.submit(lambda: check._process).result()
    asyncio.run(check.check(Grammar("regex", "a")))
    assert process is not None and check._process is process


@pytest.mark.defends(
    "costly grammars",
    "a grammar is compiled in a process of its own first, with limits on time and memory",
    without=(
        "dovetail.child",
        "if left <= 0 or not select.select([self._popen.stdout], [], [], left)[0]:",
        "if False:",
    ),
)
def test_a_grammar_that_takes_too_long_is_refused(server):
    """And the next one is compiled as if nothing had been."""
    check = GrammarCheck(server.served.text.tokenizer.backend, 512, timeout_s=0.0)
    with pytest.raises(InvalidParameter, match="takes more than 0 s"):
        asyncio.run(check.check(Grammar("regex", "a", field="guided_regex")))
    check._timeout_s = 60.0
    asyncio.run(check.check(Grammar("regex", "b")))
