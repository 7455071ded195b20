"""One step on its way: held until it is known how it is sampled, so that both are one program, then in flight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import jax
import numpy as np
from dovetail.errors import CacheLost
from dovetail.platform import (
    F32,
    I32,
    LateEdits,
    Pending,
    Ready,
    SamplingColumns,
    Ticket,
    Tokens,
)
from numpy.typing import NDArray

from .fill import fill_columns
from .sampling import TOP_LOGPROBS, WORDS
from .trace import Array

if TYPE_CHECKING:
    from .resident import Resident

A = TypeVar("A")


class Flight:
    """A step. It is launched by the first thing that is asked of it, or by the next thing that is asked of its model.

    columns  room for what is sampled in the same program; none where sampling is a program of its own
    sampled  [1], how many rows of it are filled
    """

    def __init__(
        self, resident: Resident, launch: Callable[[], StepResult], columns: I32, sampled: I32
    ) -> None:
        self.resident = resident
        self.columns, self.sampled = columns, sampled
        self._launch: Callable[[], StepResult] | None = launch
        self._result: StepResult | None = None

    @property
    def waits(self) -> bool:
        """Whether it is not launched yet."""
        return self._result is None

    def launched(self) -> StepResult:
        """The step's results, on their way."""
        if self._result is None:
            if self._launch is None:
                raise CacheLost("the step was dropped with its cache; allocate again")
            launch, self._launch = self._launch, None
            self.resident.forget(self)
            self._result = launch()
        return self._result

    def drop(self) -> None:
        """Never launch it: its cache is gone."""
        self._launch = None


class TpuPending(Pending):
    """One step, as the contract has it."""

    def __init__(self, flight: Flight) -> None:
        self._flight = flight

    def done(self) -> bool:
        return is_there(self._flight.launched().words)

    def wait(self) -> None:
        finished(self._flight.launched().words)

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        flight, asked = self._flight, columns.logprobs.copy()
        if not flight.resident.has_logits:
            raise ValueError("the graph has no logits to sample from")
        flight.resident.check_slots(columns.slot)
        if late is not None and not late.rows.size and not late.mask_rows.size:
            late = None
        if not rows.size:
            flight.launched()
            return Ready(read_tokens(np.zeros((0, WORDS), np.int32), asked))
        if flight.waits and late is None and rows.size <= len(flight.columns):
            fill_columns(flight.columns, rows, columns)
            flight.sampled[0] = rows.size
            words = flight.launched().words
        else:
            logits = flight.launched().outputs["logits"]
            words = flight.resident.sample(logits, rows, columns, late)
        return TpuTicket(words, lambda found: read_tokens(found[: asked.size], asked))

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        made = self._flight.launched().outputs[output]
        found, index = self._flight.resident.rows_of(made, rows.copy())
        return TpuTicket(found, lambda numbers: numbers[index])


class StepResult:
    """What a step makes: outputs by name [N, ...] f32, and what was sampled as words [N, 43]."""

    __slots__ = ("outputs", "words")

    def __init__(self, outputs: Mapping[str, Array], words: Array) -> None:
        self.outputs, self.words = outputs, words


class TpuTicket(Ticket[A], Generic[A]):
    """An array on its way to the host, and what is made of it there, once."""

    def __init__(self, array: Array, read: Callable[[NDArray[Any]], A]) -> None:
        self._array: Array | None = array
        self._read = read
        self._value: list[A] = []
        array.copy_to_host_async()

    def done(self) -> bool:
        return self._array is None or is_there(self._array)

    def result(self) -> A:
        if self._array is not None:
            self._value.append(self._read(finished(self._array)))
            self._array = None
        return self._value[0]


def is_there(array: Any) -> bool:
    """Whether an array is computed."""
    return bool(array.is_ready())


def finished(array: Array) -> NDArray[Any]:
    """The numbers of an array once it is there. Raises CacheLost: whatever failed, the cache went with it."""
    try:
        return np.asarray(array)
    except jax.errors.JaxRuntimeError as error:
        raise CacheLost(f"XLA failed in a step: {error}") from error


def read_tokens(words: I32, asked: I32) -> Tokens:
    """Words [n, 43] of sampling.sample as Tokens; asked [n]: alternatives, -1 not even the token's own."""
    ids, logprobs, bad = words[:, :3].T.copy()
    not_finite = bad != 0
    most = int(asked.max(initial=-1))
    if most > 0:
        top_ids, top_logprobs = _alternatives(words, asked, not_finite, most)
    else:
        top_ids, top_logprobs = (
            np.empty((len(ids), 0), np.int32),
            np.empty((len(ids), 0), np.float32),
        )
    return Tokens(ids, logprobs.view(np.float32), top_ids, top_logprobs, not_finite)


def _alternatives(words: I32, asked: I32, bad: NDArray[np.bool_], most: int) -> tuple[I32, F32]:
    """[n, most] ids and log-probabilities; behind what a row asked for -1 and NaN."""
    shown = np.where(bad, 0, np.maximum(asked, 0))
    hidden = np.arange(most) >= shown[:, None]
    ids = words[:, 3 : 3 + most].copy()
    values = words[:, 3 + TOP_LOGPROBS : 3 + TOP_LOGPROBS + most].copy().view(np.float32)
    hidden |= ids < 0
    ids[hidden], values[hidden] = -1, np.nan
    return ids, values
