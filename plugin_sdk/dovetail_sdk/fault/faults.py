"""What a device's id says about its faults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dovetail.errors import CacheLost, DeviceLost, PlatformBroken

ERRORS: Mapping[str, type[Exception]] = {
    "cache-lost": CacheLost,
    "device-lost": DeviceLost,
    "raise": RuntimeError,
}
AT_A_STEP = (
    *ERRORS,
    *(f"{word}-sample" for word in ERRORS),
    *(f"{word}-late" for word in ERRORS),
    "hang",
    "short-result",
    "long-result",
    "not-finite",
)
AT_A_CALL = ("oom-load", "oom-allocate", "oom-compile")
EXAMPLES = (
    "slow=0.01",
    *(f"{word}@5" for word in AT_A_STEP),
    *(f"{word}@150" for word in AT_A_STEP),
    "cache-lost@40+cache-lost-late@90+cache-lost-sample@150+cache-lost@151",
    "oom-load",
    "oom-allocate@1",
    "oom-allocate@2",
    "oom-compile",
)
"""Ids that `probe` lists."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults of one device.

    slow   seconds that a step takes
    steps  word -> numbers of the steps it is about, from 1
    calls  word -> which of the calls fail, from 1
    """

    id: str
    steps_in_flight: int = 1
    strict: bool = False
    slow: float = 0.0
    steps: Mapping[str, frozenset[int]] = field(default_factory=dict)
    calls: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @classmethod
    def parse(cls, device_id: str) -> Faults:
        """Read an id. Raises PlatformBroken for a word that is not known, with those that are."""
        depth, strict, slow = 1, False, 0.0
        steps: dict[str, frozenset[int]] = {}
        calls: dict[str, frozenset[int]] = {}
        for word in device_id.split("+"):
            name, _, number = word.partition("@")
            if word in ("ahead2", "ahead3"):
                depth = int(word[-1])
            elif word == "strict":
                strict = True
            elif word.startswith("slow="):
                slow = _seconds(word)
            elif name in AT_A_STEP:
                steps[name] = steps.get(name, frozenset()) | {_count(word, number)}
            elif name in AT_A_CALL:
                calls[name] = calls.get(name, frozenset()) | {_count(word, number or "1")}
            else:
                raise _unknown(word)
        return cls(device_id, depth, strict, slow, steps, calls)

    def at(self, word: str, step: int) -> bool:
        """Whether a word is about this step."""
        return step in self.steps.get(word, ())

    def raise_at(self, step: int, when: str = "") -> None:
        """Raise the error that a step has when it is issued, or "-sample", or "-late"; nothing if it has none."""
        for word, kind in ERRORS.items():
            if self.at(word + when, step):
                raise kind(f"planted: {word}{when} at step {step}")


def _count(word: str, number: str) -> int:
    if not number.isdecimal() or int(number) < 1:
        raise PlatformBroken(f"fault {word!r} says no step; write {word.partition('@')[0]}@5")
    return int(number)


def _seconds(word: str) -> float:
    try:
        seconds = float(word.removeprefix("slow="))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise PlatformBroken(f"fault {word!r} says no seconds; write slow=0.01")
    return seconds


def _unknown(word: str) -> PlatformBroken:
    known = ["ahead2", "ahead3", "strict", "slow=SECONDS"]
    known += [*(f"{name}@STEP" for name in AT_A_STEP), *AT_A_CALL]
    return PlatformBroken(f"fault {word!r} is not known; known are {', '.join(known)}")
