r"""Which regular expressions of a tokenizer take time in proportion to the text, whatever the text.

The engine behind them backtracks. An alternative is plain if nothing in it can fail once it has begun its first unbounded
repetition: what it has scanned it then consumes, and before that it scans no more than a few characters. What reads so:

    prefix   single characters, classes, literals among alternatives; repeated few times; no more than MAX_TRIALS ways to match
    loop     one class or character, * or + or {n,}
    rest     what may be empty: classes with * ? {0,n}, literals with ?

Two groups of alternatives that are not plain by themselves are where they stand together (TOGETHER): what the first has scanned
in vain the next consumes. Everything else, look-arounds, groups in loops, references, is not plain.
Tokenizers of the GPT, Llama, Qwen, Gemma and DeepSeek families are plain.
"""

from __future__ import annotations

import re

MAX_PATTERN = 8192
MAX_REPEATS = 16
MAX_TRIALS = 256

_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
TOGETHER = (
    (r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"),
    (r"\s*[\r\n]", r"\s+(?!\S)", r"\s+"),
    (r"\s+(?!\S)", r"\s+"),
    (f"{_BEFORE}{_UPPER}*{_LOWER}+{_ENDING}", f"{_BEFORE}{_UPPER}+{_LOWER}*{_ENDING}"),
    (f"{_BEFORE}{_UPPER}*{_LOWER}+", f"{_BEFORE}{_UPPER}+{_LOWER}*"),
)

_CHARACTER = re.compile(
    r"\\[pP]\{\^?\w{1,40}\}|\\[sSdDwWhHnrtfv]|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\[^0-9A-Za-z]|[^\\^$|?*+()\[\]{}]"
)
_REPEAT = re.compile(r"(?:\{(\d{0,6})(,?)(\d{0,6})\}|([*+?])(\+?))?")
_LITERALS = re.compile(r"\((?:\?i?:)?([^()\[\]{}?*+^$.\\]*)\)")


def plain(pattern: str) -> bool:
    """Whether matching takes time in proportion to the text, for every text."""
    if len(pattern) > MAX_PATTERN:
        return False
    alternatives = split(pattern)
    number = 0
    while number < len(alternatives):
        known = next((g for g in TOGETHER if alternatives[number : number + len(g)] == [*g]), None)
        if known is None and not _plain_alternative(alternatives[number]):
            return False
        number += len(known) if known else 1
    return True


def split(pattern: str) -> list[str]:
    """The alternatives of a pattern, at its top."""
    found, start, at, depth = [], 0, 0, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif char == "[":
            at = _class_end(pattern, at) - 1
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif char == "|" and not depth:
            found.append(pattern[start:at])
            start = at + 1
        at += 1
    return [*found, pattern[start:]]


def _class_end(pattern: str, at: int) -> int:
    """Behind the class that begins here, which may hold others."""
    depth, begins = 0, at
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif char == "[":
            depth += 1
        elif char == "]" and at - begins > 1 + pattern.startswith("^", begins + 1):
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return len(pattern) + 1


def _plain_alternative(text: str) -> bool:
    at, looped, trials = 0, False, 1
    while at < len(text):
        end, single = _atom(text, at)
        if end is None:
            return False
        repeat = _REPEAT.match(text, end)
        assert repeat is not None
        least, most = _bounds(repeat)
        at = repeat.end()
        if least < 0 or (at < len(text) and text[at] in "?*+{"):
            return False
        if looped:
            if least or (most != 1 and not single):
                return False
        elif most is None:
            looped = True
            if not single or least > MAX_REPEATS:
                return False
        else:
            trials *= most - least + 1
            if most > (MAX_REPEATS if single else 1) or trials > MAX_TRIALS:
                return False
    return True


def _atom(text: str, at: int) -> tuple[int | None, bool]:
    """Behind what stands here, None if it is nothing plain; whether it is a single character."""
    if text[at] == "[":
        end = _class_end(text, at)
        return (end if end <= len(text) else None), True
    if literals := _LITERALS.match(text, at):
        return literals.end(), False
    if character := _CHARACTER.match(text, at):
        return character.end(), True
    return None, False


def _bounds(repeat: re.Match[str]) -> tuple[int, int | None]:
    """Least and most, None for no bound; least below 0 for what is no repetition."""
    least, comma, most, sign, _ = repeat.groups()
    if sign:
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
    if comma is None:
        return 1, 1
    if not least and not most:
        return -1, None
    low = int(least or 0)
    if not comma:
        return low, low
    high = int(most) if most else None
    return (low, high) if high is None or high >= low else (-1, None)
