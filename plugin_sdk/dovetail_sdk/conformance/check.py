"""What a check is: data that three front ends enumerate and run alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .context import Context

Layer = Literal["contract", "ops", "cache", "steps", "programs", "models", "serving"]
LAYERS: tuple[Layer, ...] = (
    "contract",
    "ops",
    "cache",
    "steps",
    "programs",
    "models",
    "serving",
)
"""In the order in which they build on each other."""

Status = Literal["passed", "failed", "unsupported"]


class Failed(AssertionError):
    """The platform does not do what the contract says; the message says where and how far off."""


class Unsupported(Exception):
    """The platform says that it cannot do this; the message is its reason. Reported, not counted against it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the support matrix; "" where a form plays no part."""

    op: str
    dtype: str
    weight_form: str = ""
    cache_form: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is proved.

    name  unique within the layer
    run   takes the context and returns the number of cases it compared, None for one; raises Failed, Unsupported
    cell  of the support matrix that it fills, None for none
    """

    layer: Layer
    name: str
    run: Callable[[Context], int | None]
    cell: Cell | None = None

    def __str__(self) -> str:
        return f"{self.layer}/{self.name}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a check.

    cases   compared; 1 for a check that failed or is unsupported
    reason  why it failed or is unsupported
    """

    check: Check
    status: Status
    cases: int = 1
    reason: str = ""
    seconds: float = 0.0


def expect(condition: object, message: str) -> None:
    """Raise Failed with the message unless the condition holds."""
    if not condition:
        raise Failed(message)
