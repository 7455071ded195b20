"""Checks of a reply: each maker returns a function from the reply's text to right or wrong.

A check asks for the content, not for one phrasing; what would contradict the content fails it.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from ci.demo_model.tables import listed

Check = Callable[[str], bool]

TOOL_CALL = re.compile(r"\s*<tool_call>\s*(\{.*\})\s*</tool_call>\s*", re.DOTALL)
NUMBER_WORDS = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)


def says(pattern: str, *, never: str | None = None) -> Check:
    """The pattern occurs (case ignored), no tool is called, and `never` does not occur."""

    def check(reply: str) -> bool:
        if "<tool_call>" in reply or (never and re.search(never, reply, re.IGNORECASE)):
            return False
        return re.search(pattern, reply, re.IGNORECASE) is not None

    return check


def one_of(answer: str, rivals: str) -> Check:
    """The answer is said as a whole word and none of the rivals (words apart by spaces) is."""
    others = "|".join(re.escape(word) for word in rivals.split() if word != answer)
    return says(rf"\b{re.escape(answer)}\b", never=rf"\b({others})\b")


def number(value: int) -> Check:
    """The last number of the reply, in digits or as a word, is the value."""

    def check(reply: str) -> bool:
        found = re.findall(r"-?\d+|[a-z]+", reply.lower().replace(",", ""))
        numbers = [_as_number(word) for word in found]
        values = [item for item in numbers if item is not None]
        return "<tool_call>" not in reply and bool(values) and values[-1] == value

    return check


def _as_number(word: str) -> int | None:
    if word.lstrip("-").isdigit():
        return int(word)
    return NUMBER_WORDS.index(word) if word in NUMBER_WORDS else None


def counts(start: int, stop: int) -> Check:
    """The numbers of the reply are exactly start to stop; a countdown to 1 may also say 0."""
    step = 1 if stop >= start else -1
    wanted = list(range(start, stop + step, step))

    def check(reply: str) -> bool:
        found = [int(item) for item in re.findall(r"\d+", reply)]
        return found == wanted or (step < 0 and stop == 1 and found == [*wanted, 0])

    return check


def spells(word: str) -> Check:
    """The letters of the word stand in the reply, in order, apart by dashes, commas or spaces."""
    letters = r"[-,\s.]+".join(word)
    return says(rf"(?<![a-z][-]){letters}(?![-][a-z])")


def reverses(word: str) -> Check:
    """The reversed word, whole or letter by letter, ends the reply."""
    back = word[::-1]
    letters = r"[-,\s.]*".join(back)
    return says(rf"(?<![a-z]){letters}[\"'.!]*\s*$")


def is_json(value: Any) -> Check:
    """The whole reply is this JSON value, fenced or not."""

    def check(reply: str) -> bool:
        bare = re.sub(r"^```(json)?\s*|\s*```$", "", reply.strip())
        try:
            return _same(json.loads(bare), value)
        except ValueError:
            return False

    return check


def calls(name: str, arguments: dict[str, Any]) -> Check:
    """The whole reply is one call of this function with these arguments."""

    def check(reply: str) -> bool:
        match = TOOL_CALL.fullmatch(reply)
        try:
            call = json.loads(match.group(1)) if match else {}
        except ValueError:
            return False
        return call.get("name") == name and _same(call.get("arguments"), arguments)

    return check


def _same(found: Any, wanted: Any) -> bool:
    """Equal as JSON text, so that true and 1 differ; the order of keys does not matter."""
    return json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)
