"""One step on its way: the infer request that runs it, and what may be asked of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from dovetail.errors import CacheLost
from dovetail.platform import (
    F32,
    I32,
    Batch,
    LateEdits,
    Pending,
    Ready,
    SamplingColumns,
    Ticket,
    Tokens,
)
from dovetail_sdk.registers import Registers
from dovetail_sdk.sampling import HostSampler

from .feed import Feed, Limits


@dataclass(frozen=True, slots=True)
class Lane:
    """An infer request and what feeds it."""

    request: ov.InferRequest
    feed: Feed

    def start(self, batch: Batch, tokens: I32, limits: Limits) -> None:
        """Fill the inputs and start; returns while the step runs."""
        self.feed.set(batch, tokens, limits)
        self.request.start_async()


class CpuPending(Pending):
    """One step; its outputs are read in place until the next-but-one run."""

    def __init__(
        self, request: ov.InferRequest, sampler: HostSampler | None, registers: Registers
    ) -> None:
        self._request: Any = request
        self._sampler = sampler
        self._registers = registers
        self._finished = False
        self._failure: str | None = None

    def done(self) -> bool:
        if self._finished:
            return True
        try:
            return bool(self._request.wait_for(0))
        except Exception:  # the step failed, and `wait` says how
            return True

    def wait(self) -> None:
        if not self._finished:
            try:
                self._request.wait()
            except Exception as error:  # whatever OpenVINO threw: the cache may be half written
                self._failure = f"OpenVINO failed in a step: {error}"
            self._finished = True
        if self._failure is not None:
            raise CacheLost(self._failure)

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        if self._sampler is None:
            raise ValueError("the graph has no logits to sample from")
        tokens = self._sampler.sample(self._output("logits"), rows, columns, late)
        self._registers.write(columns.slot, tokens.ids)
        return Ready(tokens)

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        return Ready(np.ascontiguousarray(self._output(output)[rows]))

    def _output(self, name: str) -> F32:
        self.wait()
        data: F32 = self._request.get_tensor(name).data
        return data
