"""The Jinja environment chat templates run in: immutable, sandboxed, and bounded in time and output.

A template comes with a checkpoint, so it is foreign code. Besides Jinja's own sandbox, every loop iteration and every
macro call counts against a budget of time, and operations that can blow up memory in one go are bounded.
Known limits: the clock is read between operations, so a single slow filter is not interrupted.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2 import nodes

MAX_CHARACTERS = 16 << 20
MAX_WIDTH = 1 << 12
TIME_LIMIT_S = 5.0
_PADDING = {"center", "ljust", "rjust", "zfill", "expandtabs"}
_REMOVED_FILTERS = ("center", "format", "urlize", "wordwrap", "xmlattr", "pprint", "random")


class LimitExceeded(jinja2.TemplateError):
    """The template ran too long or made too much."""


class Refused(jinja2.TemplateError):
    """The template called raise_exception: it does not take these messages."""


class Budget:
    """Time that one rendering may take."""

    __slots__ = ("deadline", "limit_s")

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.deadline = time.monotonic() + limit_s

    def tick(self) -> str:
        """Called in every loop and macro; renders as nothing."""
        if time.monotonic() > self.deadline:
            raise LimitExceeded(f"it ran for more than {self.limit_s:g} s")
        return ""


class ChatEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """What Hugging Face templates expect, within bounds."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationTag, "jinja2.ext.loopcontrols"],
        )
        for name in _REMOVED_FILTERS:
            self.filters.pop(name, None)
        self.filters["tojson"] = to_json
        self.filters["indent"] = _bounded_indent(self.filters["indent"])
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = strftime_now

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        blocks: list[nodes.For | nodes.Macro] = [*tree.find_all(nodes.For)]
        blocks += tree.find_all(nodes.Macro)
        for block in blocks:
            tick = nodes.Call(nodes.Name("__tick", "load"), [], [], None, None)
            block.body.insert(0, nodes.ExprStmt(tick, lineno=block.lineno))
        _bound_concatenation(tree)
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str | bytes):
            raise LimitExceeded("it formats with %, which is not allowed here")
        if operator == "**":
            check_power(left, right)
        if operator == "*":
            check_repetition(left, right)
        return bounded(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if super().wrap_str_format(value) is None:
            return None
        raise LimitExceeded("it calls format() on a string, which is not allowed here")

    def call(__self, __context: Any, __function: Any, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(__function, "__self__", None)
        if isinstance(owner, str | bytes):
            check_string_method(owner, __function.__name__, (*args, *kwargs.values()))
        return bounded(super().call(__context, __function, *args, **kwargs))


class _GenerationTag(jinja2.ext.Extension):
    """{% generation %} marks what the model said, for training; here its body is rendered as it is."""

    tags = {"generation"}

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return body


def _bound_concatenation(tree: nodes.Template) -> None:
    """Turn a ~ b, which the sandbox does not see, into a call that is bounded."""
    for node in tree.find_all(nodes.Node):
        for name, value in list(node.iter_fields()):
            if isinstance(value, nodes.Concat):
                setattr(node, name, _join_call(value))
            elif isinstance(value, list):
                value[:] = [_join_call(v) if isinstance(v, nodes.Concat) else v for v in value]


def _join_call(node: nodes.Concat) -> nodes.Call:
    return nodes.Call(nodes.Name("__join", "load"), node.nodes, [], None, None, lineno=node.lineno)


def join(*parts: Any) -> str:
    """What ~ does, bounded."""
    return str(bounded("".join(map(str, parts))))


def bounded(value: Any) -> Any:
    """The value, unless it is too large."""
    if isinstance(value, str | bytes | list | tuple) and len(value) > MAX_CHARACTERS:
        raise LimitExceeded(f"it made a value of more than {MAX_CHARACTERS} characters")
    return value


def check_repetition(left: Any, right: Any) -> None:
    """Raise if left * right is too large to make."""
    for value, count in ((left, right), (right, left)):
        sized = isinstance(value, str | bytes | list | tuple)
        if sized and isinstance(count, int) and len(value) * count > MAX_CHARACTERS:
            raise LimitExceeded(f"it repeats a value to more than {MAX_CHARACTERS} characters")
    if isinstance(left, int) and isinstance(right, int) and max(abs(left), abs(right)) >> 4096:
        raise LimitExceeded("it multiplies numbers of more than 4096 bits")


def check_power(base: Any, exponent: Any) -> None:
    """Raise if base ** exponent is too large to make."""
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > 4096:
        raise LimitExceeded("it computes a power of more than 4096 bits")


def check_string_method(text: str | bytes, name: str, args: tuple[Any, ...]) -> None:
    """Raise if a method of strings could make something huge in one call."""
    if name in _PADDING and any(isinstance(a, int) and a > MAX_WIDTH for a in args):
        raise LimitExceeded(f"it pads a string to more than {MAX_WIDTH} characters")
    if name == "replace" and len(args) > 1 and isinstance(args[1], str):
        times = text.count(args[0]) + 1
        if times * len(args[1]) > MAX_CHARACTERS:
            raise LimitExceeded(f"it makes a string of more than {MAX_CHARACTERS} characters")
    if name == "join":
        check_repetition(text, _length(args[0]) if args else 0)


def _length(value: Any) -> int:
    try:
        return len(value)
    except TypeError:
        return 0


def _bounded_indent(indent: Callable[..., str]) -> Callable[..., str]:
    def bounded_indent(text: str, width: Any = 4, *args: Any, **kwargs: Any) -> str:
        size = width if isinstance(width, int) else len(str(width))
        if size > MAX_WIDTH or size * (text.count("\n") + 1) > MAX_CHARACTERS:
            raise LimitExceeded(f"it indents by {size} characters")
        return indent(text, width, *args, **kwargs)

    return bounded_indent


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Hugging Face's templates expect it: nothing escaped for HTML."""
    if isinstance(indent, int) and indent > 64:
        raise LimitExceeded(f"it indents JSON by {indent}")
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: Any) -> NoReturn:
    raise Refused(str(message)[:500])


def strftime_now(form: Any) -> str:
    """The time now, as a template wants it written."""
    return datetime.datetime.now().strftime(str(form)[:100])
