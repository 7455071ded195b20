"""Whatever a model says, what it says satisfies the schema: at least 200 schemas, tokens drawn by hash."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from dovetail import LLM, SamplingParams
from dovetail.structured import Grammar
from jsonschema import Draft202012Validator, FormatChecker

from tests.waiting import Patience

sys.path.insert(0, str(Path(__file__).parent))
from schemas import Drawer

SCHEMAS = 320
CHECKED = FormatChecker(("date", "email", "ipv4", "ipv6", "uuid"))


@pytest.fixture(scope="module")
def llm():
    with LLM("demo", platform="null:strict", max_model_len=2048) as made:
        yield made


def exact(schema):
    """With decimal fractions: 0.25000000000000000001 is more than 0.25, though not as a double."""
    return json.loads(json.dumps(schema), parse_float=Decimal)


def submit(llm: LLM, grammars: dict[str, Grammar], **params) -> dict[str, tuple[str, str, str]]:
    """What came of each: text, reason of the end, error."""
    prompt = llm._ask.model.encode("Say it as JSON: ")
    texts: dict[str, list[int]] = {name: [] for name in grammars}
    ended: dict[str, tuple[str, str, str]] = {}
    for index, (name, grammar) in enumerate(grammars.items()):
        sampling = SamplingParams(grammar=grammar, max_tokens=400, seed=index, **params)
        llm.engine.submit(llm._ask.model.request(prompt, sampling, request_id=name))
    patience = Patience("all requests have ended")
    while len(ended) < len(grammars):
        patience.look()
        for output in llm.engine.step():
            texts[output.request_id] += output.tokens
            if output.finish is not None:
                tokens = texts[output.request_id]
                said = tokens[:-1] if output.stop_id is not None else tokens
                text = llm._ask.model.tokenizer.decode(said, skip_special_tokens=False)
                ended[output.request_id] = (text, str(output.finish), output.error or "")
    return ended


def test_what_is_said_satisfies_its_schema(llm):
    drawn = {str(seed): Drawer(seed).root() for seed in range(SCHEMAS)}
    for schema in drawn.values():
        Draft202012Validator.check_schema(schema)
    grammars = {seed: Grammar("json_schema", json.dumps(schema)) for seed, schema in drawn.items()}
    whole = 0
    for seed, (text, finish, error) in submit(llm, grammars).items():
        assert finish in ("stop", "length"), (error, drawn[seed])
        if finish == "stop":
            validator = Draft202012Validator(exact(drawn[seed]), format_checker=CHECKED)
            validator.validate(json.loads(text, parse_float=Decimal))
            whole += 1
    assert whole >= 200


def test_white_space_stays_within_what_was_asked_for(llm):
    schema = json.dumps({"type": "array", "items": {"enum": [1, {"a": 2}]}, "maxItems": 4})
    one = [Grammar("json_schema", schema) for _ in range(4)]
    none = Grammar("json_schema", schema, "")
    some = Grammar("json_schema", schema, r"[ \n]{0,2}")
    said = submit(llm, {**{f"one{n}": g for n, g in enumerate(one)}, "none": none, "some": some})
    for name, (text, _, error) in said.items():
        assert not error
        value = json.loads(text)
        if name == "none":
            assert text == json.dumps(value, separators=(",", ":"))
        elif name != "some":
            assert "  " not in text and "\n" not in text
