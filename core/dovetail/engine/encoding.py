"""The engine for encoders: whole sequences, packed end to end up to the token budget; no cache, no scheduler.

A step takes the request that has waited longest and fills up with those of the most similar lengths, so that a device
that pads rows to the longest one wastes little, and nobody waits for more than the steps before it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dovetail.errors import CacheLost, DeviceLost, RequestError
from dovetail.models import Pooling
from dovetail.platform import F32, I32, Batch, Program
from dovetail.request import FinishReason, Output, Request

from .admission import check_request
from .client import EngineInfo, EngineStats
from .vectors import delivered

log = logging.getLogger("dovetail.engine")
LOSSES_IN_A_ROW = 8
LOOK_AHEAD = 8
"""Steps' worth of waiting tokens of which a step may choose."""
NO_ROWS = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderOptions:
    """
    output   of the graph: "hidden" or "scores"
    pooling  cls asks for a row's first token, everything else for its last
    types    the graph has the column token_types
    """

    output: str
    pooling: Pooling
    types: bool


class EncoderEngine:
    """Drives a model that sees whole sequences; see Driven.

    program  compiled for max_num_batched_tokens tokens and max_num_seqs rows
    """

    def __init__(
        self,
        program: Program,
        info: EngineInfo,
        options: EncoderOptions,
        *,
        closing: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.info = info
        self._program = program
        self._options = options
        self._closing = list(closing)
        self._waiting: dict[str, Request] = {}
        self._ready: list[Output] = []
        self._stats = EngineStats()
        self._losses = 0

    @property
    def has_work(self) -> bool:
        return bool(self._waiting or self._ready)

    def submit(self, request: Request) -> None:
        try:
            check_request(request, self.info)
        except RequestError as error:
            self._ready.append(Output(request.id, finish=FinishReason.ERROR, error=str(error)))
            return
        self._waiting[request.id] = request

    def cancel(self, request_id: str) -> None:
        if self._waiting.pop(request_id, None) is not None:
            self._ready.append(Output(request_id, finish=FinishReason.CANCELLED))

    def cancel_all(self) -> None:
        for request_id in list(self._waiting):
            self.cancel(request_id)

    def step(self) -> list[Output]:
        outputs, self._ready = self._ready, []
        rows = self._choose()
        if not rows:
            return outputs
        try:
            vectors = self._compute(rows)
        except CacheLost as lost:
            self._again(lost)
            return outputs
        self._losses = 0
        for request, vector in zip(rows, vectors, strict=True):
            del self._waiting[request.id]
            self._stats.total_prompt_tokens += len(request.prompt)
            outputs.append(delivered(request.id, vector))
        return outputs

    def _again(self, lost: CacheLost) -> None:
        """The step's results are lost; its requests wait on."""
        self._losses += 1
        if self._losses >= LOSSES_IN_A_ROW:
            raise DeviceLost(f"{self._losses} steps in a row were lost: {lost}") from lost
        log.warning("step=lost reason=%r waiting=%d", str(lost), len(self._waiting))

    def _choose(self) -> list[Request]:
        """The oldest request of the least priority, and others of like length up to the budgets."""
        if not self._waiting:
            return []
        near, tokens = [], 0
        budget = self.info.max_num_batched_tokens
        waiting = sorted(self._waiting.values(), key=lambda request: request.priority)
        for request in waiting:  # sorting keeps the order of arrival
            if tokens >= LOOK_AHEAD * budget:
                break
            near.append(request)
            tokens += len(request.prompt)
        oldest = near[0]
        near.sort(key=lambda request: len(request.prompt))
        return _around(near, near.index(oldest), budget, self.info.max_num_seqs)

    def _compute(self, rows: list[Request]) -> F32:
        """[R, E] or [R, labels]."""
        pending = self._program.run(self._pack(rows))
        ticket = pending.fetch(self._options.output, np.arange(len(rows), dtype=np.int32))
        pending.wait()
        self._stats.total_steps += 1
        return ticket.result()

    def _pack(self, rows: list[Request]) -> Batch:
        lengths = np.array([len(request.prompt) for request in rows], np.int32)
        starts = np.zeros(len(rows) + 1, np.int32)
        np.cumsum(lengths, out=starts[1:])
        total = int(starts[-1])
        positions = np.arange(total, dtype=np.int32) - np.repeat(starts[:-1], lengths)
        tokens = np.fromiter((t for request in rows for t in request.prompt), np.int32, total)
        first = self._options.pooling == "cls"
        return Batch(
            tokens=tokens,
            positions=positions[None],
            row_starts=starts,
            slots=np.arange(1, len(rows) + 1, dtype=np.int32),
            past=np.zeros(len(rows), np.int32),
            tables=(),
            copies=(),
            outputs=starts[:-1].copy() if first else starts[1:] - 1,
            token_types=_types(rows, total) if self._options.types else None,
        )

    def idle(self) -> bool:
        return False

    def stats(self) -> EngineStats:
        return replace(self._stats, waiting=len(self._waiting))

    def close(self) -> None:
        closing, self._closing = self._closing, []
        for close in closing:
            close()


def _around(near: list[Request], at: int, tokens: int, rows: int) -> list[Request]:
    """The run of requests sorted by length around number `at` that fits: the closer in length, the sooner."""
    low = high = at
    wanted = len(near[at].prompt)
    left = tokens - wanted
    while high - low + 1 < rows:
        below = len(near[low - 1].prompt) if low else None
        above = len(near[high + 1].prompt) if high + 1 < len(near) else None
        if (
            above is not None
            and above <= left
            and (below is None or above - wanted <= wanted - below)
        ):
            high, left = high + 1, left - above
        elif below is not None and below <= left:
            low, left = low - 1, left - below
        else:
            break
    return near[low : high + 1]


def _types(rows: list[Request], total: int) -> I32:
    types = np.zeros(total, np.int32)
    start = 0
    for request in rows:
        end = start + len(request.prompt)
        if request.types:
            types[start:end] = np.frombuffer(request.types, np.uint8)
        start = end
    return types
