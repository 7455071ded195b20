"""Realistic JSON schemas, drawn at random: together they use every word of JSON schema that is enforced."""

from __future__ import annotations

import random
from typing import Any

Schema = dict[str, Any]
WORDS = [
    "name",
    "age",
    "city",
    "tags",
    "email",
    "score",
    "items",
    "note",
    "é-key",
    "a/b",
    "kind",
    "x",
]
PATTERNS = ["^[a-z]{2,4}$", "[0-9]{3}", "^(foo|bar)+-\\d$", "^[A-Z]\\w*$", "^\\S{1,5}\\s?\\S$"]
FORMATS = [
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "uri",
]
VALUES = [None, True, False, 0, -3, 1.5, 12, "red", "grün", 'a"b\\c', "", [1, "x"], {"k": [True]}]


class Drawer:
    """Draws schemas; recursion is through $defs."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.definitions: dict[str, Schema] = {}
        self.used: set[str] = set()

    def root(self) -> Schema:
        """A schema as clients send them: mostly objects."""
        schema = self.object(3) if self.random.random() < 0.8 else self.any(3)
        if self.definitions:
            schema["$defs"] = self.definitions
        if self.random.random() < 0.2:
            schema |= {"title": "T", "description": "d", "$comment": "c"}
        return schema

    def any(self, depth: int) -> Schema:
        simple = [self.text, self.number, self.integer, self.enum, self.const, self.scalar]
        deep = [self.object, self.array, self.tuple, self.any_of, self.one_of, self.all_of]
        deep += [self.reference, self.map, self.node]
        if depth <= 0 or self.random.random() < 0.45:
            return self.random.choice(simple)()
        return self.random.choice(deep)(depth - 1)

    # ------------------------------------------------------------------------------------------ simple

    def scalar(self) -> Schema:
        kinds = self.random.sample(["null", "boolean", "integer", "string"], 2)
        bounded = {"maxLength": 6} if "string" in kinds else {}
        return {"type": kinds, **bounded} if self.random.random() < 0.5 else {"type": "boolean"}

    def text(self) -> Schema:
        schema: Schema = {"type": "string"}
        match self.random.randrange(5):
            case 0:
                schema["pattern"] = self.random.choice(PATTERNS)
            case 1:
                schema |= {"format": self.random.choice(FORMATS), "maxLength": 60}
            case 2:
                low = self.random.randrange(4)
                schema |= {"minLength": low, "maxLength": low + self.random.randrange(9)}
            case 3:
                schema |= {"pattern": "^[a-z]*$", "minLength": 1, "maxLength": 7}
            case 4:
                schema["maxLength"] = 10
        return schema

    def number(self) -> Schema:
        schema: Schema = {"type": "number"}
        low = self.random.choice([-100, -1.5, 0, 0.25, 7])
        names = self.random.choice(["inclusive", "exclusive", "none", "multiple"])
        if names == "inclusive":
            schema |= {"minimum": low, "maximum": low + 20.5}
        elif names == "exclusive":
            schema |= {"exclusiveMinimum": low, "exclusiveMaximum": low + 3}
        elif names == "multiple":
            schema |= {
                "multipleOf": self.random.choice([0.5, 0.25, 2]),
                "minimum": 0,
                "maximum": 99,
            }
        return schema

    def integer(self) -> Schema:
        schema: Schema = {"type": "integer"}
        low = self.random.choice([-1000, -7, 0, 3, 99])
        match self.random.randrange(4):
            case 0:
                schema |= {"minimum": low, "maximum": low + self.random.randrange(500)}
            case 1:
                schema |= {"exclusiveMinimum": low, "exclusiveMaximum": low + 10}
            case 2:
                schema |= {"multipleOf": self.random.choice([2, 5, 7, 10]), "minimum": low}
        return schema

    def enum(self) -> Schema:
        schema: Schema = {"enum": self.random.sample(VALUES, self.random.randint(1, 5))}
        return schema

    def const(self) -> Schema:
        return {"const": self.random.choice(VALUES)}

    # ------------------------------------------------------------------------------------------ deep

    def object(self, depth: int) -> Schema:
        names = self.random.sample(WORDS, self.random.randint(1, 5))
        schema: Schema = {"type": "object", "properties": {n: self.any(depth) for n in names}}
        if self.random.random() < 0.8:
            schema["required"] = self.random.sample(names, self.random.randint(1, len(names)))
        if self.random.random() < 0.93:
            schema["additionalProperties"] = False
        elif self.random.random() < 0.5:
            schema["additionalProperties"] = self.integer()
        if self.random.random() < 0.1:
            schema["patternProperties"] = {"^p_[a-z]{1,3}$": self.any(depth - 1)}
        return schema

    def map(self, depth: int) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self.any(depth)}
        if self.random.random() < 0.5:
            schema |= {"minProperties": self.random.randrange(2), "maxProperties": 3}
        if self.random.random() < 0.7:
            schema["patternProperties"] = {"^n[0-9]{1,3}$": self.number()}
            schema["additionalProperties"] = False
        return schema

    def array(self, depth: int) -> Schema:
        schema: Schema = {"type": "array", "items": self.any(depth)}
        low = self.random.randrange(3)
        if self.random.random() < 0.7:
            schema |= {"minItems": low, "maxItems": low + self.random.randrange(4)}
        return schema

    def tuple(self, depth: int) -> Schema:
        prefix = [self.any(depth - 1) for _ in range(self.random.randint(1, 3))]
        rest: Any = False if self.random.random() < 0.5 else self.integer()
        return {"type": "array", "prefixItems": prefix, "items": rest, "minItems": len(prefix)}

    def any_of(self, depth: int) -> Schema:
        return {"anyOf": [self.any(depth - 1) for _ in range(self.random.randint(2, 4))]}

    def one_of(self, depth: int) -> Schema:
        """Alternatives told apart by a constant, as tagged unions are, or by type."""
        if self.random.random() < 0.4:
            return {"oneOf": [self.integer(), self.text(), {"type": "null"}]}
        options = []
        for kind in self.random.sample(["circle", "square", "line"], 2):
            option = self.object(depth - 1)
            option["properties"] = {"type": {"const": kind}, **option["properties"]}
            option["required"] = ["type", *option.get("required", [])]
            options.append(option)
        if self.random.random() < 0.5:
            return {"oneOf": [self.define(option) for option in options]}
        return {"oneOf": options}

    def all_of(self, depth: int) -> Schema:
        first = {"type": "object", "properties": {"a": self.any(depth - 1)}, "required": ["a"]}
        second = {"type": "object", "properties": {"b": self.any(depth - 1), "a": True}}
        second |= {"additionalProperties": False, "maxProperties": 2}
        return {"allOf": [first, second], "type": "object"}

    def reference(self, depth: int) -> Schema:
        known = sorted(self.definitions)
        if known and self.random.random() < 0.5:
            return {"$ref": f"#/$defs/{self.random.choice(known)}"}
        return self.define(self.object(depth - 1))

    def define(self, schema: Schema) -> Schema:
        name = f"d{len(self.definitions)}"
        self.definitions[name] = schema
        return {"$ref": f"#/$defs/{name}"}

    def node(self, depth: int) -> Schema:
        """A tree: a definition that refers to itself."""
        name = f"d{len(self.definitions)}"
        self.definitions[name] = {
            "type": "object",
            "properties": {
                "value": self.integer(),
                "next": {"anyOf": [{"type": "null"}, {"$ref": f"#/$defs/{name}"}]},
                "children": {"type": "array", "items": {"$ref": f"#/$defs/{name}"}, "maxItems": 2},
            },
            "required": ["value", "next"],
            "additionalProperties": False,
        }
        return {"$ref": f"#/$defs/{name}"}
