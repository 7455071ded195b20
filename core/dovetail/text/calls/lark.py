"""Grammars, in llguidance's Lark, of calls that a format's reader is sure to read.

JSON is written compactly, with one space after commas and colons, as chat templates write it. Text goes to the first closing
marker. A schema that a format without JSON cannot promise to keep is refused, never loosened.
Source: llguidance, docs/syntax.md (%json, lazy lexemes, special tokens).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter

from .jsontext import quoted
from .typed import ALL, Schema, is_text, listed, resolved, schema_of, to_json, type_of, types_of
from .writer import Schemas

_COMPACT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_NOTES = {"title", "description", "default", "examples", "$comment", "deprecated", "$schema", "$id"}
_OBJECT = {"type", "properties", "required", "additionalProperties", "$defs", "definitions"}
_PLAIN_NAME = re.compile(r"[\w.\-]{1,256}")
MAX_REPEAT = 1 << 16


class Lark:
    """Rules, growing as they are asked for; each method returns the text that stands for what it describes.

    tools     those of which one must be called: name -> schema of the parameters
    tokens    literals that were added to the vocabulary -> their ids
    parallel  more than one call may be made
    """

    def __init__(self, tools: Schemas, *, tokens: Mapping[str, int], parallel: bool) -> None:
        self._tools = tools
        self._tokens = tokens
        self._parallel = parallel
        self._rules: dict[str, str] = {}
        self._names: dict[tuple[str, bool], str] = {}
        split = "|".join(re.escape(s) for s in sorted(tokens, key=len, reverse=True))
        self._split = re.compile(f"({split})" if split else "(?!)()")

    def text(self, start: str) -> str:
        """The whole grammar."""
        return "\n".join((f"start: {start}", *(f"{k}: {v}" for k, v in self._rules.items()), ""))

    def is_token(self, literal: str) -> bool:
        """Whether it is one added token."""
        return literal in self._tokens

    def literal(self, text: str) -> str:
        """A text as it is, added tokens by their ids."""
        parts = [part for part in self._split.split(text) if part]
        return " ".join(f"<[{self._tokens[p]}]>" if p in self._tokens else quoted(p) for p in parts)

    def rule(self, body: str, *, lazy: bool = False) -> str:
        """A new rule; equal ones are made once."""
        name = self._names.get((body, lazy))
        if name is None:
            name = self._names[body, lazy] = f"r{len(self._rules)}"
            self._rules[name + ("[lazy]" if lazy else "")] = body
        return name

    def repeat(self, call: str, separator: str) -> str:
        """One call, or more of them if that is wanted."""
        if not self._parallel:
            return call
        between = f"{self.literal(separator)} " if separator else ""
        return self.rule(f"{call} ({between}{call})*")

    def until(self, start: str, end: str) -> str:
        """A literal, any text, and the first other literal after it."""
        return f"{self.literal(start)} {self._rest(end)}".strip()

    def json(self, schema: Any, root: Schema | None = None) -> str:
        """A value of a JSON schema."""
        if not isinstance(schema, Mapping):
            schema = {} if schema is True else {"not": {}}
        whole = {**schema, "x-guidance": _COMPACT}
        for word in ("$defs", "definitions"):
            if root is not None and word in root:
                whole.setdefault(word, root[word])
        return self.rule("%json " + json.dumps(whole))

    def json_call(self, before: str, between: str, after: str) -> str:
        """A call whose name is a JSON string: before, name, between, arguments, after."""
        return self._each(
            lambda name, schema: self._pieces(
                self.literal(before + quoted(name) + between), self.json(schema), after
            )
        )

    def named_call(self, before: str, between: str, after: str = "") -> str:
        """A call whose name stands as it is."""
        return self._each(
            lambda name, schema: self._pieces(
                self.literal(before + _plain(name, "tool") + between), self.json(schema), after
            )
        )

    def typed_call(self, head: str, before: str, after: str, end: str) -> str:
        """A call whose arguments stand as text: head with {name}; for each before with {key}, text, after; end.

        `after` may begin with a line end that the reader drops; what closes the text is its first mark.
        """

        def call(name: str, schema: Schema) -> str:
            arguments = [
                (
                    f"{self.literal(before.replace('{key}', _plain(key, 'argument')))} {self._typed(schema, key, after)}",
                    needed,
                )
                for key, needed in _arguments(schema)
            ]
            start = self.literal(head.replace("{name}", _plain(name, "tool")))
            return self._pieces(start, self._members(arguments, ""), end)

        return self._each(call)

    def pythonic_call(self) -> str:
        """name(key=value, ...), values as JSON writes them."""

        def call(name: str, schema: Schema) -> str:
            arguments = [
                (
                    f"{self.literal(_plain(key, 'argument') + '=')} {self.json(*schema_of(schema, key))}",
                    needed,
                )
                for key, needed in _arguments(schema)
            ]
            start = self.literal(_plain(name, "tool") + "(")
            return self._pieces(start, self._members(arguments, ", "), ")")

        return self._each(call)

    def gemma_call(self, before: str, fence: str, end: str) -> str:
        """beforeNAME{key:value,...}end, strings between fences, keys bare."""

        def call(name: str, schema: Schema) -> str:
            start = self.literal(before + _plain(name, "tool"))
            return self._pieces(start, self._gemma_object(schema, schema, fence), end)

        return self._each(call)

    def _each(self, call: Callable[[str, Schema], str]) -> str:
        """One of the tools."""
        return self.rule(
            " | ".join(
                self.rule(call(name, _closed(schema))) for name, schema in self._tools.items()
            )
        )

    def _pieces(self, start: str, middle: str, end: str) -> str:
        return " ".join(part for part in (start, middle, self.literal(end)) if part)

    def _rest(self, end: str) -> str:
        """Any text up to the first `end`, and that."""
        if self.is_token(end):
            return f"/(?s:.*)/ {self.literal(end)}"
        return self.rule(f"/(?s:.*){_escaped(end)}/", lazy=True)

    def _members(self, members: Sequence[tuple[str, bool]], separator: str) -> str:
        """Members of which some must be there, in their order; with a separator those that must come first."""
        if not separator:
            return " ".join(m if needed else f"({m})?" for m, needed in members)
        between = self.literal(separator)
        must = [m for m, needed in members if needed]
        may = [m for m, needed in members if not needed]
        tails = "".join(f" ({between} {m})?" for m in may)
        if must:
            return f" {between} ".join(must) + tails
        rest, first = "", ""
        for member in reversed(may):
            here = self.rule(f"{member}{' ' + rest if rest else ''}")
            first = f"{here} | {first}" if first else here
            rest = self.rule(f"({between} {member})?{' ' + rest if rest else ''}")
        return f"({self.rule(first)})?" if first else ""

    def _typed(self, parameters: Schema, key: str, after: str) -> str:
        """The text of an argument and what closes it."""
        schema, root = schema_of(parameters, key)
        marker = after.strip()
        tail = after[after.index(marker) + len(marker) :]
        if (options := _options(schema, root)) is not None:
            texts = [_as_text(value, schema, root, key, marker) for value in options]
            return f"({' | '.join(self.literal(text + after) for text in texts)})"
        if "string" not in types_of(schema, root):
            return f"{self.json(schema, root)} {self.literal(after)}"
        least, most = _length(_plain_string(schema, root, key), key)
        if (least, most) == (0, None):
            return f"{self._rest(marker)} {self.literal(tail)}".strip()
        bound = f"{least},{'' if most is None else most}"
        return f"{self.rule(f'/[^<]{{{bound}}}/')} {self.literal(after)}"

    def _gemma(self, schema: Any, root: Schema, key: str, fence: str) -> str:
        """A value as FunctionGemma writes it."""
        if isinstance(schema, Mapping) and isinstance(reference := schema.get("$ref"), str):
            raise _refusal(key, f"the reference {reference}")
        if (choices := _choices(schema)) is not None:
            return f"({' | '.join(self._gemma(choice, root, key, fence) for choice in choices)})"
        kinds = types_of(schema, root)
        options = _options(schema, root)
        if options is not None and kinds == {"string"}:
            texts = (self.literal(fence + str(option) + fence) for option in options)
            return f"({' | '.join(texts)})"
        if kinds == {"string"}:
            least, most = _length(_plain_string(schema, root, key), key)
            if (least, most) == (0, None):
                return self.until(fence, fence)
            bound = f"{least},{'' if most is None else most}"
            return f"{self.literal(fence)} {self.rule(f'/[^<]{{{bound}}}/')} {self.literal(fence)}"
        if kinds == {"array"}:
            return self._gemma_array(schema, root, key, fence)
        if kinds == {"object"}:
            return self._gemma_object(schema, root, fence)
        if kinds & {"string", "array", "object"}:
            raise _refusal(key, "no single type")
        return self.json(schema, root)

    def _gemma_array(self, schema: Schema, root: Schema, key: str, fence: str) -> str:
        _only(schema, {"type", "items"}, key)
        items = schema.get("items")
        if not isinstance(items, Mapping):
            raise _refusal(key, "an array without items")
        item = self.rule(self._gemma(items, root, key, fence))
        return f'"[" ({item} ("," {item})*)? "]"'

    def _gemma_object(self, schema: Schema, root: Schema, fence: str) -> str:
        members = []
        for key, needed in _arguments(schema):
            value = self._gemma(schema_of(schema, key)[0], root, key, fence)
            members.append((f"{self.literal(_plain(key, 'argument') + ':')} {value}", needed))
        return f'"{{" {self._members(members, ",")} "}}"'


def _refusal(key: str, what: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"tools: the argument {key[:100]!r} has {what}, which this model's form of calls cannot be held to; "
        'simplify its schema, or use tool_choice "auto"',
        param="tools",
    )


def _plain(name: str, what: str) -> str:
    """A name that stands without quotes."""
    if not _PLAIN_NAME.fullmatch(name):
        raise UnsupportedParameter(
            f"tools: the name {name[:100]!r} of {'an' if what == 'argument' else 'a'} {what} has characters besides "
            "letters, digits, _, . and -; this model writes it without quotes, so a call cannot be forced",
            param="tools",
        )
    return name


def _only(schema: Any, words: set[str], key: str) -> None:
    """Refuse a schema that says more than can be kept."""
    if not isinstance(schema, Mapping):
        raise _refusal(key, "something else than an object for a schema")
    more = sorted(set(schema) - words - _NOTES)
    if more:
        raise _refusal(key, f"{more[0][:100]} in its schema")


def _closed(schema: Schema) -> Schema:
    """The schema of an object with no members but those it names, where it leaves that open: valid all the same.

    No schema at all means no arguments, as OpenAI has it.
    """
    if not schema:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    whole = {"type": "object", **schema}
    if "properties" in whole and whole.keys() <= _OBJECT | _NOTES:
        whole.setdefault("additionalProperties", False)
    return whole


def _arguments(schema: Schema) -> list[tuple[str, bool]]:
    """Names of arguments, and whether they are required."""
    _only(schema, _OBJECT, "(all of them)")
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(properties, Mapping) or not (
        isinstance(required, list) and all(isinstance(name, str) for name in required)
    ):
        raise InvalidParameter(
            "tools: in the schema of an object, properties must be an object and required a list of names",
            param="tools",
        )
    needed = set(required)
    return [(name, name in needed) for name in dict.fromkeys((*properties, *required))]


def _choices(schema: Any) -> list[Any] | None:
    """The schemas of which one holds, if that is all the schema says."""
    if not isinstance(schema, Mapping):
        return None
    words = schema.keys() - _NOTES
    if words == {"type"} and isinstance(schema["type"], list):
        return [{"type": kind} for kind in schema["type"]]
    for word in ("anyOf", "oneOf"):
        if words == {word} and isinstance(schema[word], list):
            return list(schema[word])
    return None


def _options(schema: Any, root: Schema) -> list[Any] | None:
    """The values of an enumeration or a constant."""
    if not isinstance(schema, Mapping):
        return None
    if isinstance(reference := schema.get("$ref"), str) and len(set(schema) - _NOTES) == 1:
        schema = resolved(reference, root)
        if not isinstance(schema, Mapping) or "$ref" in schema:
            return None
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    if not isinstance(values, list):
        return None
    allowed = types_of({k: v for k, v in schema.items() if k != "enum"}, root)
    return [value for value in values if type_of(value) in allowed]


def _as_text(value: Any, schema: Any, root: Schema, key: str, marker: str) -> str:
    """What the reader takes for this value."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    read = to_json(text, schema, root)
    if marker in text or json.loads(read) != value:
        raise _refusal(key, f"the value {text[:100]!r}")
    return text


def _plain_string(schema: Any, root: Schema, key: str) -> Schema:
    """The schema, if it is of a string alone or says nothing but types."""
    if isinstance(schema, Mapping) and isinstance(reference := schema.get("$ref"), str):
        _only(schema, {"$ref"}, key)
        schema = resolved(reference, root)
    if not isinstance(schema, Mapping):
        return {}
    if is_text(schema, root):
        _only(schema, {"type", "minLength", "maxLength"}, key)
        return schema
    if types_of(schema, root) != ALL or schema.keys() - _NOTES:
        for option in (schema, *listed(schema, "anyOf"), *listed(schema, "oneOf")):
            _only(option, {"type", "anyOf", "oneOf"}, key)
    return {}


def _length(schema: Schema, key: str) -> tuple[int, int | None]:
    """Least and most characters."""
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    for bound in (least, most):
        if bound is not None and not (isinstance(bound, int) and 0 <= bound <= MAX_REPEAT):
            raise _refusal(key, f"a length of {str(bound)[:20]}")
    return least, most


def _escaped(text: str) -> str:
    """A literal within /.../."""
    return re.sub(r"([.+*?()|\[\]{}^$/\\])", r"\\\1", text).replace("\n", "\\n")
