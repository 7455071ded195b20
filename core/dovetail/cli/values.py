"""Values of settings, read from text; what they refuse with ValueError says what the value must be."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
MAX_SIZE = 1 << 50
MOST = (1 << 31) - 1  # what 32 bits with a sign hold
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def between(low: int, high: int) -> Callable[[str], int]:
    """A whole number in [low, high]."""

    def read(text: str) -> int:
        value = int(text)
        if value < low:
            raise ValueError(f"it must be at least {low}")
        if value > high:
            raise ValueError(f"it must be at most {high}")
        return value

    return read


def filled(text: str) -> str:
    """A text that is not blank."""
    if not text.strip():
        raise ValueError("it must not be empty")
    return text


def assignment(text: str) -> str:
    """NAME=VALUE, neither of them empty."""
    name, equals, value = text.partition("=")
    if not (equals and name.strip() and value.strip()):
        raise ValueError("it must be NAME=VALUE")
    return f"{name.strip()}={value.strip()}"


def port(text: str) -> int:
    """A TCP port; 0 lets the system choose."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise ValueError("it must be 0 to 65535")
    return value


def http_url(text: str) -> str:
    """The URL of something that speaks HTTP."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be a URL like http://127.0.0.1:4318")
    return text


def seconds(text: str) -> float:
    """A finite time from 0 on."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("it must be a number from 0 on")
    return value


def milliseconds(text: str) -> float:
    """At most ten minutes; 0 means no limit."""
    value = float(text)
    if not 0 <= value <= 600_000:
        raise ValueError("it must be a number from 0 to 600000")
    return value


def size(text: str) -> int:
    """Bytes: 1073741824, 512M, 4G, 1.5GiB; units are powers of 1024."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError("it must be bytes, or a number with K, M, G or T")
    value = float(found[1]) * _UNITS[found[2].lower()]
    if value < 1:
        raise ValueError("it must be at least 1")
    if value > MAX_SIZE:
        raise ValueError("it must be at most 1024T")
    return int(value)


def sized_directory(text: str) -> tuple[str, int]:
    """DIR:SIZE, a directory and the bytes it may hold."""
    directory, _, limit = text.strip().rpartition(":")
    if not directory.strip():
        raise ValueError("it must be DIR:SIZE, like /var/cache/dovetail:20G")
    return directory.strip(), size(limit)


def truth(text: str) -> bool:
    """true or false."""
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("it must be true or false")
    return word in _TRUE


def one_of(*names: str) -> Callable[[str], str]:
    """One of these words."""

    def choose(text: str) -> str:
        if text not in names:
            raise ValueError(f"it must be one of {', '.join(names)}")
        return text

    return choose


def call_format(text: str) -> str:
    """The name of a form of tool calls."""
    from dovetail.text.calls.table import CALL_NAMES, known

    return known(text, CALL_NAMES)


def reasoning_format(text: str) -> str:
    """The name of a form of reasoning."""
    from dovetail.text.calls.table import REASONING_NAMES, known

    return known(text, REASONING_NAMES)


def reason(error: ValueError) -> str:
    """What a value must be, also where Python's own int and float refuse it."""
    words = str(error)
    if words.startswith(("invalid literal", "could not convert")):
        return "it must be a number"
    return words
