"""Typed reading of config.json: every field checked, every error naming the file, the field and what is expected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dovetail.errors import CheckpointError

FILE = "config.json"


class Fields:
    """A JSON object, read field by field.

    prefix  where it is in the file, "rope_scaling." for an inner object

    `null` counts as absent. Every method raises CheckpointError for a field that is missing without a default, of
    another type, or out of range.
    """

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        if not isinstance(values, Mapping):
            raise CheckpointError(
                f"{FILE}: {prefix or 'the file'} is {short(values)}; expected a JSON object"
            )
        self.values = values
        self.prefix = prefix

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number in [low, high]."""
        if default is not None and not self.has(name):
            return default
        value = self._present(name, f"a whole number from {low} to {high}")
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(name, f"a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """A finite number in [low, high]."""
        if default is not None and not self.has(name):
            return default
        expected = f"a number from {low:g} to {high:g}"
        value = self._present(name, expected)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, expected)
        if not low <= value <= high or not math.isfinite(value):
            raise self.wrong(name, expected)
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false."""
        if not self.has(name):
            return default
        value = self.values[name]
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def word(self, name: str, default: str | None = None) -> str:
        """A string."""
        if default is not None and not self.has(name):
            return default
        value = self._present(name, "a string")
        if not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def words(self, name: str) -> list[str]:
        """A list of strings."""
        value = self._present(name, "a list of strings")
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "a list of strings")
        return value

    def inner(self, name: str) -> Fields:
        """An object within; an empty one if absent."""
        if not self.has(name):
            return Fields({}, f"{self.prefix}{name}.")
        value = self.values[name]
        if not isinstance(value, Mapping):
            raise self.wrong(name, "a JSON object")
        return Fields(value, f"{self.prefix}{name}.")

    def wrong(self, name: str, expected: str) -> CheckpointError:
        """The error for a field that is not what it should be."""
        value = short(self.values.get(name))
        return CheckpointError(f"{FILE}: field {self.prefix}{name} is {value}; expected {expected}")

    def _present(self, name: str, expected: str) -> Any:
        if not self.has(name):
            raise CheckpointError(
                f"{FILE}: field {self.prefix}{name} is missing; expected {expected}"
            )
        return self.values[name]


def short(value: object) -> str:
    """A value as text for an error, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
