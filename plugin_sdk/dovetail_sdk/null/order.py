"""Work in the order in which it was issued: at once, or as late as anyone may notice."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from dovetail.platform import Ticket

A = TypeVar("A")


class Order:
    """Jobs of one model, first in, first out.

    lazy  run nothing before somebody waits for it or, at random, asks whether it is done
    """

    def __init__(self, *, lazy: bool, seed: int = 0) -> None:
        self._lazy = lazy
        self._random = random.Random(seed)
        self._jobs: deque[Job[object]] = deque()

    def issue(self, work: Callable[[], A]) -> Job[A]:
        """Queue some work behind all that was issued before."""
        job = Job(self, work)
        if self._lazy:
            self._jobs.append(job)  # type: ignore[arg-type]  # results are read through the job alone
        else:
            job.run()
        return job

    def run_to(self, job: Job[A]) -> None:
        """Run everything up to a job that has not run."""
        while not job.finished:
            self._jobs.popleft().run()

    def maybe(self) -> bool:
        """Whether a job that is asked about happens to be done by now."""
        return self._random.random() < 0.5


class Job(Ticket[A], Generic[A]):
    """Some work and then its result, or what it raised."""

    def __init__(self, order: Order, work: Callable[[], A]) -> None:
        self._order = order
        self._work: Callable[[], A] | None = work
        self._error: BaseException | None = None
        self._result: A

    @property
    def finished(self) -> bool:
        """Whether the work has run."""
        return self._work is None

    def run(self) -> None:
        """Do the work; what it raises is kept for `result`."""
        assert self._work is not None
        try:
            self._result = self._work()
        except Exception as error:  # handed to whoever asks for the result
            self._error = error
        self._work = None

    def done(self) -> bool:
        if not self.finished and self._order.maybe():
            self._order.run_to(self)
        return self.finished

    def result(self) -> A:
        self._order.run_to(self)
        if self._error is not None:
            raise self._error
        return self._result
