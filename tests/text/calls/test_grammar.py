"""Under a format's grammar nothing comes out but calls that its reader reads, with arguments that the schema allows."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import jsonschema
import llguidance
import numpy as np
import pytest
import tokenizers
from dovetail.errors import UnsupportedParameter
from dovetail.structured.grammar import Grammar
from dovetail.structured.vocabulary import Vocabulary
from dovetail.text.calls.grammar import Frame, special_tokens
from dovetail.text.calls.table import CALL_FORMATS, REASONING_FORMATS
from dovetail.text.speech import Spoken, speech_of
from dovetail.text.tokenizer import Tokenizer
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from .vectors import TOOLS, feed, put_together, reader_of

MOST = 3000
TAGS = sorted(
    {tag for form in CALL_FORMATS.values() for tag in special_tokens(form, None)}
    | {"<think>", "</think>", "[THINK]", "[/THINK]"}
)


def make_tokenizer(*, special: bool) -> tokenizers.Tokenizer:
    """Bytes, and the tags of all formats as tokens, special or not."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(["hello"], trainer)
    made.add_tokens([AddedToken(tag, special=special, normalized=False) for tag in TAGS])
    return made


class Sampler:
    """Draws replies at random from what a grammar allows; ends, tags and quotes more often, so that replies end."""

    def __init__(self, *, special: bool) -> None:
        self.tokenizer = make_tokenizer(special=special)
        self.tokens = {tag: self.tokenizer.token_to_id(tag) for tag in TAGS}
        self.vocabulary = Vocabulary(self.tokenizer, self.tokenizer.get_vocab_size())
        closers = (*TAGS, *'"}],')
        self._closers = np.array([self.tokenizer.token_to_id(c) for c in closers])

    def reply(self, grammar: Grammar, seed: int, *, end: float = 0.5) -> str:
        draw = random.Random(seed)
        matcher, ids = self.vocabulary.matcher(grammar), list[int]()
        while len(ids) < MOST:
            allowed = np.unpackbits(
                np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little"
            )
            if allowed[self.vocabulary.end] and (draw.random() < end or allowed.sum() == 1):
                return str(self.tokenizer.decode(ids, skip_special_tokens=False))
            allowed[self.vocabulary.end] = 0
            closing = self._closers[allowed[self._closers] > 0]
            some = closing if len(closing) and draw.random() < 0.5 else np.flatnonzero(allowed)
            ids.append(int(draw.choice(list(some))))
            assert matcher.consume_token(ids[-1]), matcher.get_error()
        raise AssertionError(f"no end within {MOST} tokens")


@pytest.fixture(scope="module", params=[True, False], ids=["special", "added"])
def sampler(request: pytest.FixtureRequest) -> Sampler:
    return Sampler(special=request.param)


def frame(form: str, sampler: Sampler, **fields: Any) -> Frame:
    values: dict[str, Any] = {
        "tools": TOOLS,
        "parallel": True,
        "reasoning": None,
        "opened": False,
        "tokens": sampler.tokens,
    }
    return Frame(calls=CALL_FORMATS[form], **(values | fields))


@pytest.mark.parametrize("form", CALL_FORMATS)
def test_calls_that_must_come_are_read_and_valid(form: str, sampler: Sampler) -> None:
    grammar = Grammar("lark", frame(form, sampler).must_call())
    for seed in range(12):
        reply = sampler.reply(grammar, seed)
        read = put_together(feed(reader_of(form), reply, [3]))
        assert read.calls and not read.text, reply
        for name, arguments in read.calls:
            jsonschema.validate(arguments, TOOLS[name])


@pytest.mark.parametrize("form", CALL_FORMATS)
def test_the_one_that_is_named_comes_once(form: str, sampler: Sampler) -> None:
    tools = {"now": {**TOOLS["now"], "additionalProperties": False}}
    grammar = Grammar("lark", frame(form, sampler, tools=tools, parallel=False).must_call())
    for seed in range(3):
        read = put_together(feed(reader_of(form), sampler.reply(grammar, seed)))
        assert read.calls == [("now", {})] and not read.text


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize(
    ("form", "tags"), [("hermes", "think"), ("mistral", "mistral"), ("gpt_oss", "gpt_oss")]
)
def test_reasoning_may_come_before(form: str, tags: str, opened: bool, sampler: Sampler) -> None:
    reasoning = REASONING_FORMATS[tags]
    framed = frame(form, sampler, reasoning=reasoning, opened=opened)
    schema = Grammar("json_object", frame=framed.must_answer())
    calls, thoughts, answers = 0, 0, 0
    for seed in range(20):
        for grammar in (Grammar("lark", framed.must_call()), schema):
            reader = reader_of(form, reasoning=reasoning, opened=opened)
            read = put_together(feed(reader, sampler.reply(grammar, seed)))
            assert bool(read.calls) != bool(read.text)
            assert not read.text or isinstance(json.loads(read.text), dict)
            calls += bool(read.calls)
            thoughts += bool(read.reasoning)
            answers += bool(read.text)
            if grammar is not schema:
                assert read.calls
    assert calls and answers and thoughts


def offering(form: str, sampler: Sampler, **fields: Any) -> Grammar:
    """Of a reply that may call: one tool is strict, another is not."""
    strict = frozenset({"get_weather", "now"})
    return Grammar("lark", frame(form, sampler, strict=strict, **fields).may_call())


@pytest.mark.parametrize("tags", [None, "think", "granite"])
@pytest.mark.parametrize("form", CALL_FORMATS)
def test_calls_of_strict_tools_that_may_come_are_valid(
    form: str, tags: str | None, sampler: Sampler
) -> None:
    tags = "gpt_oss" if tags and form == "gpt_oss" else tags
    reasoning = REASONING_FORMATS[tags] if tags else None
    calls, texts = 0, 0
    for seed in range(16):
        options: dict[str, Any] = {"parallel": bool(seed % 2), "reasoning": reasoning}
        options["opened"] = bool(reasoning and seed % 4 == 3)
        reply = sampler.reply(offering(form, sampler, **options), seed, end=0.1)
        read = put_together(feed(reader_of(form, **options), reply, [3]))
        assert options["parallel"] or len(read.calls) <= 1
        for name, arguments in read.calls:
            assert name in TOOLS, reply
            if name != "save":
                jsonschema.validate(arguments, TOOLS[name])
        calls, texts = calls + len(read.calls), texts + bool(read.text)
    assert calls and texts


# how a call of get_weather goes on with arguments that its schema does not allow, or of no tool that is offered
WRONG = {
    "deepseek_v3": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_rain\n```json\n{}",
    "functiongemma": "<start_function_call>call:get_weather{city:3}",
    "glm45": "<tool_call>get_weather\n<arg_key>days</arg_key>\n<arg_value>many</arg_value>",
    "granite": '<|tool_call|>[{"name": "get_rain", "arguments": {}}]',
    "hermes": '<tool_call>\n{"name": "get_weather", "arguments": {}}\n</tool_call>',
    "llama3_json": '{"name": "get_weather", "parameters": {"city": 3}}',
    "llama4_pythonic": "[get_weather(city=3)]",
    "mistral": '[TOOL_CALLS] [{"name": "get_rain", "arguments": {}}]',
    "phi4_mini_json": 'functools[{"name": "get_weather", "arguments": {}}]',
    "qwen3_coder": "<tool_call>\n<function=get_rain>\n</function>\n</tool_call>",
}


@pytest.mark.parametrize("form", WRONG)
def test_calls_that_are_not_valid_cannot_be_spelled_either(form: str, sampler: Sampler) -> None:
    def fits(text: str, tokens: bool) -> bool:
        matcher = sampler.vocabulary.matcher(offering(form, sampler))
        whole = sampler.tokenizer
        pieces = [text] if tokens else list(text)
        ids = [i for piece in pieces for i in whole.encode(piece).ids]
        return bool(matcher.validate_tokens(ids) == len(ids))

    free = "Use `functools`, a < b, <tool, {x: [1]} and [TOOL] 日本語 <|tool as you like.\n"
    for tokens in (True, False):
        assert fits(free, tokens)
        before = "" if form.startswith("llama") else free
        assert not fits(before + WRONG[form], tokens)


def one(schema: dict[str, Any]) -> dict[str, Any]:
    return {"f": {"type": "object", "properties": {"a": schema}, "required": ["a"]}}


@pytest.mark.parametrize("form", ["qwen3_coder", "glm45", "functiongemma"])
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 2, "maxLength": 4},
        {"enum": ["x", "a b\nc"]},
        {"type": "array", "items": {"type": "integer"}},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"type": "boolean", "description": "d", "default": True},
        {"type": ["string", "null"]},
    ],
)
def test_schemas_of_bare_text_are_kept_to(
    form: str, schema: dict[str, Any], sampler: Sampler
) -> None:
    tools = one(schema)
    grammar = Grammar("lark", frame(form, sampler, tools=tools).must_call())
    for seed in range(4):
        reply = sampler.reply(grammar, seed)
        calls = put_together(feed(reader_of(form, tools=tools), reply)).calls
        assert calls, reply
        for name, arguments in calls:
            jsonschema.validate(arguments, tools[name])


@pytest.mark.parametrize("form", ["qwen3_coder", "glm45", "functiongemma"])
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^a+$"},
        {"type": "string", "format": "date"},
        {"allOf": [{"type": "string"}, {"maxLength": 2}]},
    ],
)
def test_what_cannot_be_kept_to_is_refused(
    form: str, schema: dict[str, Any], sampler: Sampler
) -> None:
    with pytest.raises(UnsupportedParameter, match="'a'"):
        frame(form, sampler, tools=one(schema)).must_call()


def test_names_that_cannot_stand_bare_are_refused(sampler: Sampler) -> None:
    tools = {"a b>": {}}
    for form in CALL_FORMATS:
        build: Callable[[], str] = frame(form, sampler, tools=tools).must_call
        if form in ("hermes", "llama3_json", "granite", "phi4_mini_json"):
            assert llguidance.LLMatcher.validate_grammar(build()) == ""
        elif form != "mistral":
            with pytest.raises(UnsupportedParameter, match="a b>"):
                build()


def test_a_speech_knows_its_special_tokens() -> None:
    tokenizer = Tokenizer(make_tokenizer(special=True))
    speech = speech_of(None, tokenizer, calls="mistral", reasoning="mistral")
    assert isinstance(speech, Spoken)
    assert {tokenizer.name_of(i) for i in speech.keep} == {
        "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]", "[THINK]", "[/THINK]",
    }  # fmt: skip
    grammar = speech.grammar(
        "",
        [{"type": "function", "function": {"name": "f"}}],
        parallel=False,
        required=True,
        name="f",
        strict=frozenset(),
        answer=None,
    )
    assert grammar is not None and f"<[{tokenizer.id_of('[TOOL_CALLS]')}]>" in grammar.text
