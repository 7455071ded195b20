"""What one rendering of a chat template may take: time, the size of a value, and memory.

A rendering is the code between `Budget.running` and its end; everything here charges the one that runs in this thread.
Memory is measured where values add up: what was made altogether says little (a prompt put together piece by piece copies
itself many times), so once that is much, what the process has grown by decides.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jinja2
from jinja2.filters import do_round

MAX_CHARACTERS = 16 << 20
MAX_ITEMS = 2 << 20
MAX_WIDTH = 1 << 12
MAX_MEMORY = 512 << 20
MAX_MADE = 16 << 30
"""Where the system does not say how large a process is."""
ITEM_BYTES = 64
MAX_PLACES = 30
TIME_LIMIT_S = 5.0
_PADDING = {"center", "ljust", "rjust", "zfill"}
_SPLITTING = {"split", "rsplit", "splitlines"}
_current = threading.local()


class LimitExceeded(jinja2.TemplateError):
    """The template ran too long or made too much."""


class Budget:
    """Time and memory that one rendering may take."""

    __slots__ = ("_made", "_next_look", "_resident", "deadline", "limit_s")

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.deadline = time.monotonic() + limit_s
        self._made = 0
        self._next_look = MAX_MEMORY
        self._resident = resident_bytes()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """What this thread does until the end is charged."""
        _current.budget = self
        try:
            yield
        finally:
            _current.budget = None

    def tick(self) -> None:
        """Raise if the time is up."""
        if time.monotonic() > self.deadline:
            raise LimitExceeded(f"it ran for more than {self.limit_s:g} s")

    def spend(self, num_bytes: int) -> None:
        """Something of about this size was made."""
        self._made += num_bytes
        if self._made < self._next_look:
            return
        self._next_look = self._made + MAX_MEMORY // 8
        now = resident_bytes()
        grown = self._made * MAX_MEMORY // MAX_MADE if now is None else now - (self._resident or 0)
        if grown > MAX_MEMORY:
            raise LimitExceeded(f"it takes more than {MAX_MEMORY >> 20} MiB of memory")


def resident_bytes() -> int | None:
    """Memory of this process, None where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return None


def tick() -> str:
    """Called in every loop and macro; renders as nothing."""
    if (budget := getattr(_current, "budget", None)) is not None:
        budget.tick()
    return ""


def bounded(value: Any) -> Any:
    """The value, unless it is too large; charged to the rendering that made it."""
    if isinstance(value, str | bytes):
        size, most, what = len(value), MAX_CHARACTERS, "characters"
    elif isinstance(value, list | tuple | dict | set):
        size, most, what = len(value), MAX_ITEMS, "items"
    else:
        return value
    if size > most:
        raise LimitExceeded(f"it made a value of more than {most} {what}")
    if size > MAX_WIDTH and (budget := getattr(_current, "budget", None)) is not None:
        budget.spend(size * (1 if what == "characters" else ITEM_BYTES))
        budget.tick()
    return value


def plain(value: Any) -> Any:
    """The value, unless writing it out or comparing it would take very long: parts that it holds many times count each time."""
    if not isinstance(value, list | tuple | dict | set):
        return value
    stack: list[Any] = [value]
    items, characters = 0, 0
    while stack:
        item = stack.pop()
        if isinstance(item, str | bytes):
            characters += len(item)
        elif isinstance(item, dict):
            stack += item
            stack += item.values()
        elif isinstance(item, list | tuple | set):
            stack += item
        items += 1
        if items > MAX_ITEMS or len(stack) > 2 * MAX_ITEMS or characters > MAX_CHARACTERS:
            raise LimitExceeded(
                f"it works on a value of more than {MAX_ITEMS} parts or {MAX_CHARACTERS} characters"
            )
    return value


def joined(parts: Iterable[str]) -> str:
    """ "".join, bounded before it is made."""
    parts = [*parts]
    if sum(map(len, parts)) > MAX_CHARACTERS:
        raise LimitExceeded(f"its text is longer than {MAX_CHARACTERS} characters")
    text = "".join(parts)
    return text if len(text) <= MAX_WIDTH else str(bounded(text))


def join(*parts: Any) -> str:
    """What ~ does, bounded."""
    return joined(str(plain(part)) for part in parts)


def check_repetition(left: Any, right: Any) -> None:
    """Raise if left * right is too large to make."""
    for value, count in ((left, right), (right, left)):
        if not isinstance(count, int):
            continue
        most = MAX_CHARACTERS if isinstance(value, str | bytes) else MAX_ITEMS
        sized = isinstance(value, str | bytes | list | tuple)
        if sized and len(value) * count > most:
            raise LimitExceeded(f"it repeats a value to a length of more than {most}")
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
    if name == "translate":
        raise LimitExceeded("it calls translate() on a string, which is not allowed here")
    if name == "expandtabs":
        _check_grown(text, "\t", max([8, *(a for a in args if isinstance(a, int))]))
    if (
        name == "replace"
        and len(args) > 1
        and isinstance(args[0], str)
        and isinstance(args[1], str)
    ):
        _check_grown(text, args[0], len(args[1]))
    if name in _SPLITTING:
        sized = bool(args) and isinstance(args[0], str) and bool(args[0]) and isinstance(text, str)
        if (text.count(args[0]) if sized else len(text) // 2) > MAX_ITEMS:
            raise LimitExceeded(f"it splits a string into more than {MAX_ITEMS} parts")


def _check_grown(text: str | bytes, found: str, length: int) -> None:
    if isinstance(text, str) and len(text) + text.count(found) * length > MAX_CHARACTERS:
        raise LimitExceeded(f"it makes a string of more than {MAX_CHARACTERS} characters")


def join_filter(value: Any, d: Any = "", attribute: Any = None) -> str:
    """The filter join: texts with others in between."""
    if attribute is not None:
        value = [_attribute(item, str(attribute)) for item in value]
    texts = [str(plain(item)) for item in bounded([*value])]
    between = str(d)
    if sum(map(len, texts)) + len(between) * len(texts) > MAX_CHARACTERS:
        raise LimitExceeded(f"it makes a string of more than {MAX_CHARACTERS} characters")
    return str(bounded(between.join(texts)))


def _attribute(item: Any, name: str) -> Any:
    return item.get(name, "") if isinstance(item, dict) else ""


def sum_filter(value: Any, attribute: Any = None, start: Any = 0) -> Any:
    """The filter sum, of numbers."""
    numbers = [_attribute(item, str(attribute)) for item in value] if attribute else [*value]
    if not all(isinstance(number, int | float) for number in (start, *numbers)):
        raise LimitExceeded("it sums up what is no number")
    return sum(numbers, start)


def indent_of(indent: Callable[..., str]) -> Callable[..., str]:
    """The filter indent, bounded."""

    def bounded_indent(text: str, width: Any = 4, *args: Any, **kwargs: Any) -> str:
        size = width if isinstance(width, int) else len(str(width))
        if size > MAX_WIDTH or size * (text.count("\n") + 1) > MAX_CHARACTERS:
            raise LimitExceeded(f"it indents by {size} characters")
        return indent(text, width, *args, **kwargs)

    return bounded_indent


def round_filter(value: Any, precision: int = 0, method: Any = "common") -> Any:
    """The filter round, to a place that numbers have."""
    if not isinstance(precision, int) or abs(precision) > MAX_PLACES:
        raise LimitExceeded(f"it rounds to more than {MAX_PLACES} places")
    return do_round(value, precision, method)
