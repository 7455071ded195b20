"""Each word of JSON schema: enforced, refused by name, or without meaning."""

from __future__ import annotations

import json

import pytest
from dovetail.errors import InvalidParameter
from dovetail.structured import Grammar
from dovetail.structured.schema import ANNOTATIONS, FORMATS, IDENTITY, REFUSED
from dovetail.structured.spelling import spelling_of
from dovetail.structured.vocabulary import Vocabulary
from dovetail.weights.checkpoint import open_checkpoint
from llguidance import LLTokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}}}


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.load(open_checkpoint("demo").tokenizer_file, 2048)


def allows(vocabulary: Vocabulary, schema, text: str) -> bool:
    """Whether a compact text is a whole reply."""
    matcher = vocabulary.matcher(Grammar("json_schema", json.dumps(schema), ""))
    tokens = vocabulary._tokens.tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


# word: (schema, texts it allows, texts it does not)
ENFORCED = {
    "type": ({"type": ["integer", "null"]}, ["3", "null"], ["true", '"3"', "3.5"]),
    "enum": ({"enum": ["a", 2, None]}, ['"a"', "2", "null"], ["3", '"b"']),
    "const": ({"const": {"a": [1]}}, ['{"a":[1]}'], ['{"a":[2]}', "{}"]),
    "anyOf": ({"anyOf": [{"const": 1}, {"type": "boolean"}]}, ["1", "true"], ["2"]),
    "oneOf": ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, ["1", '"x"'], ["null"]),
    "allOf": (
        {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]},
        ["3", "5"],
        ["2", "6"],
    ),
    "$ref": (
        {"$ref": "#/$defs/x", "$defs": {"x": {"const": 7}}},
        ["7"],
        ["8"],
    ),
    "definitions": (
        {"$ref": "#/definitions/x", "definitions": {"x": {"const": 7}}},
        ["7"],
        ["8"],
    ),
    "properties": (OBJECT, ['{"a":1}', '{"a":1,"b":true}', "{}"], ['{"a":"x"}']),
    "required": ({**OBJECT, "required": ["b"]}, ['{"b":true}'], ["{}", '{"a":1}']),
    "additionalProperties": (
        {**OBJECT, "additionalProperties": False},
        ["{}", '{"a":1}'],
        ['{"c":1}'],
    ),
    "patternProperties": (
        {
            "type": "object",
            "patternProperties": {"^x": {"type": "null"}},
            "additionalProperties": False,
        },
        ['{"xy":null}'],
        ['{"xy":1}', '{"y":null}'],
    ),
    "minProperties": ({"type": "object", "minProperties": 1}, ['{"q":1}'], ["{}"]),
    "maxProperties": ({"type": "object", "maxProperties": 1}, ["{}", '{"q":1}'], ['{"q":1,"r":1}']),
    "items": ({"type": "array", "items": {"const": 1}}, ["[]", "[1,1]"], ["[2]"]),
    "prefixItems": (
        {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False},
        ["[1,2]"],
        ["[2,1]", "[1,2,3]"],
    ),
    "minItems": ({"type": "array", "items": {"const": 1}, "minItems": 2}, ["[1,1]"], ["[1]"]),
    "maxItems": ({"type": "array", "items": {"const": 1}, "maxItems": 1}, ["[1]"], ["[1,1]"]),
    "minLength": ({"type": "string", "minLength": 2}, ['"ab"'], ['"a"']),
    "maxLength": ({"type": "string", "maxLength": 2}, ['"ab"', '"éü"'], ['"abc"']),
    "pattern": ({"type": "string", "pattern": "^a[bc]$"}, ['"ab"'], ['"ad"', '"abx"']),
    "minimum": ({"type": "number", "minimum": 1.5}, ["1.5", "2"], ["1.4"]),
    "maximum": ({"type": "integer", "maximum": 9}, ["9", "-4"], ["10"]),
    "exclusiveMinimum": ({"type": "integer", "exclusiveMinimum": 3}, ["4"], ["3"]),
    "exclusiveMaximum": ({"type": "integer", "exclusiveMaximum": 3}, ["2"], ["3"]),
    "multipleOf": ({"type": "integer", "multipleOf": 5}, ["0", "15"], ["16"]),
    "format": ({"type": "string", "format": "ipv4"}, ['"10.0.0.255"'], ['"10.0.0.256"']),
}


@pytest.mark.parametrize("word", ENFORCED)
def test_a_word_is_enforced(vocabulary, word):
    schema, allowed, refused = ENFORCED[word]
    assert all(allows(vocabulary, schema, text) for text in allowed)
    assert not any(allows(vocabulary, schema, text) for text in refused)


@pytest.mark.parametrize("word", REFUSED)
@pytest.mark.parametrize("at", ["", "/properties/p", "/$defs/d"])
def test_what_cannot_be_enforced_is_refused_with_its_place(vocabulary, word, at):
    broken = {word: ["something"]}
    schema = {"type": "object", "properties": {"q": {"$ref": "#/$defs/d"}}, "$defs": {"d": {}}}
    match at:
        case "":
            schema |= broken
        case "/properties/p":
            schema["properties"]["p"] = broken
        case _:
            schema["$defs"]["d"] = broken
    with pytest.raises(InvalidParameter, match=f'"{at}/{word}"'.replace("$", r"\$")):
        vocabulary.matcher(Grammar("json_schema", json.dumps(schema)))


OTHERS = {
    "format": {"type": "string", "format": "iban"},
    "oneOf": {"oneOf": [{"minimum": 1}, {"maximum": 5}]},
    "minProperties": {"type": "object", "minProperties": 2},
    "multipleOf": {"type": "integer", "multipleOf": 10_007},
    "maxItems": {"type": "array", "maxItems": 10**9},
    "2\\*\\*53": {"const": 2**53 + 1},
    "cannot be enforced": {"$ref": "https://example.com/schema.json"},
    "look-": {"type": "string", "pattern": "a(?!b)"},
    "nothing": {"$ref": "#"},
    "[Uu]nsat": {"type": "string", "minLength": 3, "maxLength": 2},
}


@pytest.mark.parametrize("words", OTHERS)
def test_what_cannot_be_enforced_as_it_stands_is_refused(vocabulary, words):
    with pytest.raises(InvalidParameter, match=words):
        vocabulary.matcher(Grammar("json_schema", json.dumps(OTHERS[words])))


def test_what_has_no_meaning_changes_nothing(vocabulary):
    said = dict.fromkeys((*ANNOTATIONS, "x-order", "nullable", "discriminator"), "x")
    said["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    assert "$schema" in IDENTITY
    schema = {
        **said,
        "type": "object",
        "properties": {"not": {"const": 1, **said}},
        "required": ["not"],
        "additionalProperties": False,
        "uniqueItems": False,
        "$defs": {"unused": {"not": {}}},
    }
    assert allows(vocabulary, schema, '{"not":1}')
    assert not allows(vocabulary, schema, '{"not":2}')


def test_every_format_of_the_list_is_known(vocabulary):
    for name in FORMATS:
        vocabulary.matcher(Grammar("json_schema", json.dumps({"type": "string", "format": name})))


def test_tagged_unions_of_references_are_enforced(vocabulary):
    """As pydantic writes them."""

    def tagged(kind: str, **properties):
        return {
            "type": "object",
            "properties": {"kind": {"const": kind, "type": "string"}, **properties},
            "required": ["kind", *properties],
            "additionalProperties": False,
        }

    schema = {
        "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
        "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/$defs/Cat"}},
        "$defs": {
            "Cat": tagged("cat", lives={"type": "integer"}),
            "Dog": tagged("dog", friend={"$ref": "#/$defs/Cat"}),
        },
    }
    assert allows(vocabulary, schema, '{"kind":"cat","lives":9}')
    assert allows(vocabulary, schema, '{"kind":"dog","friend":{"kind":"cat","lives":9}}')
    assert not allows(vocabulary, schema, '{"kind":"dog","lives":9}')


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('start: "a" %json {"type": "array", "uniqueItems": true}', '"/uniqueItems"'),
        ('start: %json // of it\n {"properties": {"a": {"not": {}}}}', '"/properties/a/not"'),
        ('start: %lark {\nstart: %json {"if": {}}\n}', '"/if"'),
        ('start: %json {"type": "array", "x-guidance": {"lenient": true}}', "x-guidance"),
        ('{"grammars": [{"json_schema": {"uniqueItems": true}}]}', "not a JSON object"),
    ],
)
def test_the_same_is_refused_within_lark(vocabulary, text, why):
    with pytest.raises(InvalidParameter, match=why):
        vocabulary.compile(Grammar("lark", text))


def test_other_schemas_within_lark_are_kept_to(vocabulary):
    spaced = {"type": "array", "x-guidance": {"whitespace_flexible": False}}
    vocabulary.compile(Grammar("lark", f"start: %json {json.dumps(spaced)}"))


def texts_with(tag: str):
    """Grammars that force a tag's text, and what they force; a tag without quotes is the token itself."""
    escaped = "".join(f"\\{c}" if c in "|[]" else c for c in tag)
    yield Grammar("choice", json.dumps([f"a {tag} b"])), f"a {tag} b"
    yield Grammar("regex", f"a{escaped} b"), f"a{tag} b"
    yield Grammar("lark", f'start: "a {tag}" "b"'), f"a {tag}b"
    yield Grammar("gbnf", f'root ::= "a {tag}"'), f"a {tag}"
    yield Grammar("json_schema", json.dumps({"const": f"a{tag}"})), f'"a{tag}"'
    schema = {
        "type": "object",
        "properties": {tag: {"const": 1}},
        "required": [tag],
        "additionalProperties": False,
    }
    yield Grammar("json_schema", json.dumps(schema), ""), f'{{"{tag}":1}}'
    schema = {"const": tag, "x-guidance": {"whitespace_flexible": False}}
    yield Grammar("lark", f"start: %json {json.dumps(schema)}"), f'"{tag}"'


def followed(vocabulary: Vocabulary, grammar: Grammar) -> list[int]:
    """A reply's tokens: what is forced, and else the lowest id there is."""
    matcher, said = vocabulary.matcher(grammar), []
    for _ in range(100):
        mask = int.from_bytes(matcher.compute_bitmask(), "little")
        if mask >> vocabulary.end & 1:
            break
        said.append((mask & -mask).bit_length() - 1)
        assert matcher.consume_token(said[-1]), matcher.get_error()
        forced = matcher.compute_ff_tokens()
        assert matcher.consume_tokens(forced), matcher.get_error()
        said += forced
    return said


def test_texts_that_read_like_tags_of_the_model_are_spelled(vocabulary):
    tokenizer = Tokenizer.from_file(str(open_checkpoint("demo").tokenizer_file))
    for tag in (text for text in vocabulary.tags if text.startswith("<")):
        for grammar, text in texts_with(tag):
            said = followed(vocabulary, grammar)
            assert tokenizer.decode(said, skip_special_tokens=False) == text
            assert vocabulary.tags[tag] not in said
        token = Grammar("lark", f'start: "a" {tag} "b"')
        assert vocabulary.tags[tag] in followed(vocabulary, token)


def test_they_are_refused_where_the_tokenizer_would_make_tags_of_them():
    letters = {letter: at for at, letter in enumerate('▁abcdefghij{}:"1')}
    octets = {f"<0x{byte:02X}>": len(letters) + byte for byte in range(256)}
    backend = Tokenizer(models.BPE(vocab=letters | octets, merges=[], byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    backend.add_special_tokens(["<|end|>"])
    vocabulary = Vocabulary(backend, backend.get_vocab_size())
    for grammar, _ in texts_with("<|end|>"):
        with pytest.raises(InvalidParameter, match="stands for no text"):
            vocabulary.compile(grammar)
    vocabulary.compile(Grammar("lark", 'start: "a" <|end|> "b"'))
    vocabulary.compile(Grammar("choice", '["<|end|"]'))


def test_ids_are_spelled_as_llguidance_reads_them():
    """Which takes the file of the tokenizer itself, and longer."""
    backend = Tokenizer.from_file(str(open_checkpoint("demo").tokenizer_file))
    ours = spelling_of(backend, 2048)
    theirs = LLTokenizer(backend.to_str(), n_vocab=2048)
    assert ours.plain and ours.end == 2048
    for token in range(2048):
        assert ours.tokens.decode_bytes([token]) == theirs.decode_bytes([token])
        assert ours.tokens.is_special_token(token) == theirs.is_special_token(token)
    for text in ("a word", '{"a": [1, -2.5e3]}', "\n\n  é中😀\t", "don't  "):
        assert ours.tokens.tokenize_str(text) == theirs.tokenize_str(text)
