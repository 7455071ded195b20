"""Grammars, in llguidance's Lark, of calls that a format's reader is sure to read.

JSON is written compactly, with one space after commas and colons, as chat templates write it. Text goes to the first closing
marker. A schema that a format without JSON cannot promise to keep is refused, never loosened.
Source: llguidance, docs/syntax.md (%json, lazy lexemes, special tokens, & and ~ of terminals).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from .jsontext import quoted
from .parameters import (
    arguments_of,
    as_text,
    choices_of,
    closed,
    length_of,
    loosened,
    only,
    options_of,
    plain_name,
    plain_string,
    refusal,
)
from .typed import Schema, schema_of, types_of
from .writer import Schemas

_COMPACT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Lark:
    """Rules, growing as they are asked for; each method returns the text that stands for what it describes.

    tools     those of which one must be called: name -> schema of the parameters
    tokens    literals that were added to the vocabulary -> their ids
    parallel  more than one call may be made
    opened    what begins calls has been written already
    loose     tools whose arguments may be any
    """

    def __init__(
        self,
        tools: Schemas,
        *,
        tokens: Mapping[str, int],
        parallel: bool,
        opened: str = "",
        loose: Set[str] = frozenset(),
    ) -> None:
        self._tools = tools
        self._tokens = tokens
        self._parallel = parallel
        self._opened = opened
        self._loose = loose
        self._terminals: dict[str, str] = {}
        self._rules: dict[str, str] = {}
        self._names: dict[tuple[str, bool], str] = {}
        split = "|".join(re.escape(s) for s in sorted(tokens, key=len, reverse=True))
        self._split = re.compile(f"({split})" if split else "(?!)()")

    def text(self, start: str) -> str:
        """The whole grammar."""
        named = self._rules | {name: body for body, name in self._terminals.items()}
        return "\n".join((f"start: {start}", *(f"{k}: {v}" for k, v in named.items()), ""))

    def is_token(self, literal: str) -> bool:
        """Whether it is one added token."""
        return literal in self._tokens

    def literal(self, text: str) -> str:
        """A text as it is, added tokens by their ids; without what has been written already."""
        if self._opened:
            text = text.removeprefix(self._opened)
        parts = [part for part in self._split.split(text) if part]
        return " ".join(f"<[{self._tokens[p]}]>" if p in self._tokens else quoted(p) for p in parts)

    def rule(self, body: str, *, lazy: bool = False) -> str:
        """A new rule; equal ones are made once."""
        name = self._names.get((body, lazy))
        if name is None:
            name = self._names[body, lazy] = f"r{len(self._rules)}"
            self._rules[name + ("[lazy]" if lazy else "")] = body
        return name

    def terminal(self, body: str) -> str:
        """A new terminal; equal ones are made once."""
        return self._terminals.setdefault(body, f"T{len(self._terminals)}")

    def repeat(self, call: str, separator: str, *, own: bool = False) -> str:
        """One call, or more of them if that is wanted; own: each is opened by itself, and so not here if one is open."""
        if not self._parallel or (own and self._opened):
            return call
        between = f"{self.literal(separator)} " if separator else ""
        return self.rule(f"{call} ({between}{call})*")

    def until(self, start: str, *ends: str) -> str:
        """A literal, any text, and the first of other literals after it."""
        return f"{self.literal(start)} {self._rest(*ends)}".strip()

    def free(self, marks: Sequence[str], starts: Sequence[str] = ()) -> str:
        """Text that holds none of the marks and begins, after white space, with none of the starts; it may be empty."""
        return self.terminal("/(?s:.*)/" + _without(marks, starts))

    def opening(self, mark: str, others: Sequence[str], starts: Sequence[str] = ()) -> str:
        """Text that is free of all marks, and one of them."""
        if self.is_token(mark):
            return f"{self.free((mark, *others), starts)} <[{self._tokens[mark]}]>"
        body = f"/(?s:.*){_escaped(mark)}/" + _without(others, starts)
        return self.rule(self.terminal(body), lazy=True)

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
                self.literal(before + quoted(name) + between), self._object(name, schema), after
            )
        )

    def named_call(self, before: str, between: str, after: str = "") -> str:
        """A call whose name stands as it is."""
        return self._each(
            lambda name, schema: self._pieces(
                self.literal(before + plain_name(name, "tool") + between),
                self._object(name, schema),
                after,
            )
        )

    def typed_call(self, head: str, before: str, after: str, end: str) -> str:
        """A call whose arguments stand as text: head with {name}; for each before with {key}, text, after; end.

        `after` may begin with a line end that the reader drops; what closes the text is its first mark.
        """

        def call(name: str, schema: Schema) -> str:
            arguments = [
                (
                    f"{self.literal(before.replace('{key}', plain_name(key, 'argument')))} {self._typed(schema, key, after)}",
                    needed,
                )
                for key, needed in arguments_of(schema)
            ]
            start = self.literal(head.replace("{name}", plain_name(name, "tool")))
            return self._pieces(start, self._members(arguments, ""), end)

        return self._each(call)

    def pythonic_call(self) -> str:
        """name(key=value, ...), values as JSON writes them."""

        def call(name: str, schema: Schema) -> str:
            arguments = [
                (
                    f"{self.literal(plain_name(key, 'argument') + '=')} {self.json(*schema_of(schema, key))}",
                    needed,
                )
                for key, needed in arguments_of(schema)
            ]
            start = self.literal(plain_name(name, "tool") + "(")
            return self._pieces(start, self._members(arguments, ", "), ")")

        return self._each(call)

    def gemma_call(self, before: str, fence: str, end: str) -> str:
        """beforeNAME{key:value,...}end, strings between fences, keys bare."""

        def call(name: str, schema: Schema) -> str:
            start = self.literal(before + plain_name(name, "tool"))
            return self._pieces(start, self._gemma_object(schema, schema, fence), end)

        return self._each(call)

    def _each(self, call: Callable[[str, Schema], str]) -> str:
        """One of the tools."""
        return self.rule(
            " | ".join(
                self.rule(call(name, loosened(schema) if name in self._loose else closed(schema)))
                for name, schema in self._tools.items()
            )
        )

    def _object(self, name: str, schema: Schema) -> str:
        """The arguments of a tool, JSON."""
        return self.json({"type": "object"} if name in self._loose else schema)

    def _pieces(self, start: str, middle: str, end: str) -> str:
        return " ".join(part for part in (start, middle, self.literal(end)) if part)

    def _rest(self, *ends: str) -> str:
        """Any text up to the first of `ends`, and that."""
        tokens = [end for end in ends if self.is_token(end)]
        spelled = [end for end in ends if end not in tokens]
        rests = [f"{self.free(ends)} <[{self._tokens[end]}]>" for end in tokens]
        if spelled:
            body = f"/(?s:.*)({_any(spelled)})/" + _without(tokens)
            rests.append(self.rule(self.terminal(body), lazy=True))
        return rests[0] if len(rests) == 1 else self.rule(" | ".join(rests))

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
        if (options := options_of(schema, root)) is not None:
            texts = [as_text(value, schema, root, key, marker) for value in options]
            return f"({' | '.join(self.literal(text + after) for text in texts)})"
        if "string" not in types_of(schema, root):
            return f"{self.json(schema, root)} {self.literal(after)}"
        least, most = length_of(plain_string(schema, root, key), key)
        if (least, most) == (0, None):
            return f"{self._rest(marker)} {self.literal(tail)}".strip()
        bound = f"{least},{'' if most is None else most}"
        return f"{self.rule(f'/[^<]{{{bound}}}/')} {self.literal(after)}"

    def _gemma(self, schema: Any, root: Schema, key: str, fence: str) -> str:
        """A value as FunctionGemma writes it."""
        if isinstance(schema, Mapping) and isinstance(reference := schema.get("$ref"), str):
            raise refusal(key, f"the reference {reference}")
        if (choices := choices_of(schema)) is not None:
            return f"({' | '.join(self._gemma(choice, root, key, fence) for choice in choices)})"
        if schema == {}:
            return self._gemma_any(fence)
        kinds = types_of(schema, root)
        options = options_of(schema, root)
        if options is not None and kinds == {"string"}:
            texts = (self.literal(fence + str(option) + fence) for option in options)
            return f"({' | '.join(texts)})"
        if kinds == {"string"}:
            least, most = length_of(plain_string(schema, root, key), key)
            if (least, most) == (0, None):
                return self.until(fence, fence)
            bound = f"{least},{'' if most is None else most}"
            return f"{self.literal(fence)} {self.rule(f'/[^<]{{{bound}}}/')} {self.literal(fence)}"
        if kinds == {"array"}:
            return self._gemma_array(schema, root, key, fence)
        if kinds == {"object"}:
            return self._gemma_object(schema, root, fence)
        if kinds & {"string", "array", "object"}:
            raise refusal(key, "no single type")
        return self.json(schema, root)

    def _gemma_any(self, fence: str) -> str:
        """Any value at all."""
        scalar = self.json({"type": ["number", "boolean", "null"]})
        member = self.rule('/[A-Za-z0-9_.\\-]{1,256}/ ":" anything')
        self._rules["anything"] = (
            f'{self.until(fence, fence)} | {scalar} | "[" (anything ("," anything)*)? "]" | '
            f'"{{" ({member} ("," {member})*)? "}}"'
        )
        return "anything"

    def _gemma_array(self, schema: Schema, root: Schema, key: str, fence: str) -> str:
        only(schema, {"type", "items"}, key)
        items = schema.get("items")
        if not isinstance(items, Mapping):
            raise refusal(key, "an array without items")
        item = self.rule(self._gemma(items, root, key, fence))
        return f'"[" ({item} ("," {item})*)? "]"'

    def _gemma_object(self, schema: Schema, root: Schema, fence: str) -> str:
        members = []
        for key, needed in arguments_of(schema):
            value = self._gemma(schema_of(schema, key)[0], root, key, fence)
            members.append((f"{self.literal(plain_name(key, 'argument') + ':')} {value}", needed))
        return f'"{{" {self._members(members, ",")} "}}"'


def _without(marks: Sequence[str], starts: Sequence[str] = ()) -> str:
    """What a terminal is intersected with, lest it hold one of the marks or begin with one of the starts."""
    nowhere = f" & ~/(?s:.*)({_any(marks)})(?s:.*)/" if marks else ""
    return nowhere + (f" & ~/[ \\t\\r\\n]*({_any(starts)})(?s:.*)/" if starts else "")


def _any(literals: Sequence[str]) -> str:
    return "|".join(map(_escaped, literals))


def _escaped(text: str) -> str:
    """A literal within /.../."""
    return re.sub(r"([.+*?()|\[\]{}^$/\\])", r"\\\1", text).replace("\n", "\\n")
