"""The Jinja environment chat templates run in: immutable, sandboxed, and bounded in time, output and memory.

A template comes with a checkpoint, so it is foreign code. Besides Jinja's own sandbox, every loop iteration and every
macro call counts against a budget of time, and whatever makes a value, or takes long over one, goes through bounds.py.
Known limits: the clock is read between operations, so a single slow filter is not interrupted; values are bounded so that
none takes more than a few seconds.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2 import nodes

from .bounds import (
    LimitExceeded,
    bounded,
    check_power,
    check_repetition,
    check_string_method,
    indent_of,
    join,
    join_filter,
    joined,
    plain,
    round_filter,
    sum_filter,
    tick,
)

_REMOVED_FILTERS = (
    *("batch", "center", "filesizeformat", "format", "pprint", "random", "slice", "striptags"),
    *("urlencode", "urlize", "wordcount", "wordwrap", "xmlattr"),
)
_WHOLE = ("dictsort", "groupby", "max", "min", "sort", "string", "tojson", "unique")
"""Filters that go through all parts of a value, however deep."""
_COMPARING = (
    *("==", "!=", "<", "<=", ">", ">=", "in", "eq", "equalto", "ne"),
    *("ge", "greaterthan", "gt", "le", "lessthan", "lt"),
)


class Refused(jinja2.TemplateError):
    """The template called raise_exception: it does not take these messages."""


class ChatEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """What Hugging Face templates expect, within bounds."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    concat = staticmethod(joined)
    # called by name from what _parse puts into a template; no template can give them another meaning
    tick = staticmethod(tick)
    join = staticmethod(join)
    made = staticmethod(bounded)
    plain = staticmethod(plain)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=plain,
            extensions=[_GenerationTag, "jinja2.ext.loopcontrols"],
        )
        for name in _REMOVED_FILTERS:
            self.filters.pop(name, None)
        self.filters |= {
            "tojson": to_json,
            "join": join_filter,
            "sum": sum_filter,
            "round": round_filter,
        }
        self.filters["indent"] = indent_of(self.filters["indent"])
        self.filters["replace"] = replace
        self.filters = {k: _bounded_filter(k, made) for k, made in self.filters.items()}
        compared: dict[str, Any] = {name: self.tests[name] for name in _COMPARING}
        self.tests |= {name: _bounded_test(made) for name, made in compared.items()}
        del self.globals["lipsum"]
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = strftime_now

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        loops: list[nodes.For | nodes.Macro | nodes.CallBlock] = [*tree.find_all(nodes.For)]
        loops += [*tree.find_all(nodes.Macro), *tree.find_all(nodes.CallBlock)]
        for block in loops:
            block.body.insert(0, nodes.ExprStmt(_called("tick"), lineno=block.lineno))
        _rewrite(tree)
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
            name = __function.__name__
            check_string_method(owner, name, (*args, *kwargs.values()))
            if name == "join" and isinstance(owner, str):
                return join_filter(args[0] if args else (), owner)
        elif isinstance(owner, list | tuple) and __function.__name__ in ("count", "index"):
            plain(owner)
        return bounded(super().call(__context, __function, *args, **kwargs))


class _GenerationTag(jinja2.ext.Extension):
    """{% generation %} marks what the model said, for training; here its body is rendered as it is."""

    tags = {"generation"}

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return body


def _called(name: str, *args: nodes.Expr, lineno: int | None = None) -> nodes.Call:
    """A call of the environment's function of that name."""
    return nodes.Call(nodes.EnvironmentAttribute(name), [*args], [], None, None, lineno=lineno)


def _rewrite(tree: nodes.Template) -> None:
    """Turn what the sandbox does not see (a ~ b, slices, comparisons) into calls that are bounded."""
    for node in [tree, *tree.find_all(nodes.Node)]:
        for name, value in list(node.iter_fields()):
            if isinstance(value, nodes.Node):
                setattr(node, name, _rewritten(value))
            elif isinstance(value, list):
                value[:] = [_rewritten(v) if isinstance(v, nodes.Node) else v for v in value]


def _rewritten(node: nodes.Node) -> nodes.Node:
    if isinstance(node, nodes.Concat):
        return _called("join", *node.nodes, lineno=node.lineno)
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        return _called("made", node, lineno=node.lineno)
    if isinstance(node, nodes.Compare):
        node.expr = _plain(node.expr)
        for operand in node.ops:
            operand.expr = _plain(operand.expr)
    return node


def _plain(node: nodes.Expr) -> nodes.Expr:
    """The operand of a comparison; constants are what they are."""
    return node if isinstance(node, nodes.Const) else _called("plain", node, lineno=node.lineno)


def _bounded_filter(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose result is bounded, and what it goes through if that is all of it."""

    @functools.wraps(made)
    def within(*args: Any, **kwargs: Any) -> Any:
        if name in _WHOLE:
            args = tuple(bounded([*a]) if isinstance(a, Iterator) else a for a in args)
            for value in args:
                plain(value)
        return bounded(made(*args, **kwargs))

    return within


def _bounded_test(made: Callable[..., Any]) -> Callable[..., bool]:
    """A test that compares, of values that do not take forever to compare."""

    def within(left: Any, right: Any) -> bool:
        return bool(made(plain(left), plain(right)))

    return within


def replace(text: Any, old: Any, new: Any, count: int = -1) -> str:
    """The filter replace, bounded."""
    whole, old, new = str(plain(text)), str(old), str(new)
    check_string_method(whole, "replace", (old, new))
    return whole.replace(old, new, -1 if count is None else count)


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
    raise Refused(str(plain(message))[:500])


def strftime_now(form: Any) -> str:
    """The time now, as a template wants it written."""
    return datetime.datetime.now().strftime(str(form)[:100])
