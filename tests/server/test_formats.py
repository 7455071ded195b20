"""Structured output over HTTP: what each field asks for, and what is refused."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

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
