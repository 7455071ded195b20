"""Programs of a model: buckets up to a shape, the smallest compiled one that fits a step is run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from dovetail.platform import Batch, Pending, Program, Shape

from .buckets import Bucket
from .step import TpuPending

if TYPE_CHECKING:
    from .resident import Resident

WANTED_OFTEN = 32
"""Steps that would have been smaller after which a bucket is compiled, where not all are before serving."""


class TpuProgram(Program):
    """Buckets, smallest first; the last one is compiled and holds every step up to the shape."""

    def __init__(self, resident: Resident, buckets: tuple[Bucket, ...]) -> None:
        self.shape: Shape = buckets[-1].shape
        self._resident, self._buckets = resident, buckets
        self._wanted: Counter[Bucket] = Counter()
        self._compiling = Background()

    def run(self, batch: Batch) -> Pending:
        return TpuPending(self._resident.run(batch, self._choose(batch)))

    def _choose(self, batch: Batch) -> Bucket:
        """The smallest bucket that is compiled; a smaller one is compiled on a thread once it was wanted often."""
        lengths = batch.tokens.size, batch.slots.size, batch.outputs.size
        fitting = [bucket for bucket in self._buckets if bucket.holds(*lengths)]
        if not fitting:
            raise ValueError(
                f"a step of {lengths[0]} tokens, {lengths[1]} rows and {lengths[2]} outputs; compiled for {self.shape}"
            )
        for bucket in fitting:
            if bucket is self._buckets[-1] or self._resident.is_compiled(bucket):
                return bucket
            self._wanted[bucket] += 1
            if self._wanted[bucket] == WANTED_OFTEN:
                self._compiling.start(partial(self._resident.executable, bucket))
        return fitting[-1]


class Background:
    """Work that is done one by one on a thread, which ends with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def start(self, work: Callable[[], object]) -> None:
        """Do it beside everything else."""

        def alone() -> None:
            with self._lock:
                work()

        threading.Thread(target=alone, name="dovetail-tpu-compile", daemon=True).start()
