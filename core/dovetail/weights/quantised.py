"""All quantised weights of a graph: mapped from the weight cache, or computed on every core and put there."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dovetail.graph import Weight

from .mapping import FileMap
from .plane_file import Layout, PlaneWriter
from .quantise import Planes
from .weight_cache import WeightCache

MOST_THREADS = 16

log = logging.getLogger("dovetail.weights")


class QuantisedWeights:
    """Planes by weight, each computed once.

    Work begins with the first call of `planes`, for all weights in the order of the graph.

    found  called where there is no work, because the cache has them all
    """

    def __init__(
        self,
        weights: Sequence[Weight],
        quantise: Callable[[Weight], Planes],
        files: Sequence[Path],
        cache: WeightCache | None,
        found: Callable[[], None],
    ) -> None:
        self._weights = {weight.name: weight for weight in weights}
        self._quantise = quantise
        self._files = files
        self._cache = cache
        self._found = found
        self._lock = threading.Lock()
        self._layout: Layout | None = None
        self._writer: PlaneWriter | None = None
        self._mapped: FileMap | None = None
        self._written: FileMap | None = None
        self._jobs: dict[str, Future[Planes]] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._left = len(self._weights)

    def planes(self, name: str) -> Planes:
        """Raises what quantising this weight raises."""
        with self._lock:
            if self._jobs is None and self._mapped is None:
                self._begin()
        if self._mapped is not None:
            assert self._layout is not None
            return self._layout.planes(name, self._mapped.data)
        assert self._jobs is not None
        return self._jobs[name].result()

    def close(self) -> None:
        """Stop what is still computed, and keep nothing; planes that were given out stay valid."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        with self._lock:
            self._give_up()
            for mapped in (self._mapped, self._written):
                if mapped is not None:
                    mapped.forget()
        self._jobs = None

    def _begin(self) -> None:
        if self._cache is not None:
            self._layout = self._cache.layout(self._files, list(self._weights.values()))
        if self._cache is not None and self._layout is not None:
            self._mapped = self._cache.find(self._layout)
            if self._mapped is not None:
                self._found()
                return
            self._writer = self._cache.begin(self._layout)
            self._written = self._writer.mapped if self._writer is not None else None
        self._pool = ThreadPoolExecutor(_threads(), "dovetail-quantise")
        self._jobs = {
            name: self._pool.submit(self._make, weight) for name, weight in self._weights.items()
        }

    def _make(self, weight: Weight) -> Planes:
        try:
            planes = self._quantise(weight)
        except BaseException:
            with self._lock:
                self._give_up()
            raise
        return self._kept(weight.name, planes)

    def _kept(self, name: str, planes: Planes) -> Planes:
        """The same planes, read from the cache's file if there is one: then they are no memory of ours."""
        writer = self._writer
        try:
            if writer is not None:
                planes = writer.put(name, planes)
            with self._lock:
                self._left -= 1
                if self._left == 0 and self._writer is not None:
                    self._writer.finish()
                    self._writer = None
        except OSError as error:
            log.warning("the weight cache cannot be written: %s; this start goes on", error)
            with self._lock:
                self._give_up()
        return planes

    def _give_up(self) -> None:
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None


def _threads() -> int:
    if hasattr(os, "sched_getaffinity"):
        return min(MOST_THREADS, len(os.sched_getaffinity(0)))
    return min(MOST_THREADS, os.cpu_count() or 1)
