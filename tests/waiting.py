"""Waiting for what another thread or process is to do, and an end to it: without what it waits for a test fails, and says so."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

PATIENCE_S = 60.0
"""More than anything takes that is waited for here. It says nothing about how fast it is to be."""
TURN_S = 1.0
"""That one look counts at most: a machine that stood still meanwhile has used up no more."""


class Patience:
    """For a loop that goes on until something has happened.

    what  that is, as a sentence
    """

    def __init__(self, what: str) -> None:
        self._what, self._left_s, self._last = what, PATIENCE_S, time.monotonic()

    def look(self) -> None:
        """To be called whenever it has not happened yet; fails the test when that was too often."""
        now = time.monotonic()
        self._left_s -= min(now - self._last, TURN_S)
        self._last = now
        if self._left_s < 0:
            pytest.fail(f"waited {PATIENCE_S:g} s in vain until {self._what}")


def until(what: str, happened: Callable[[], Any]) -> None:
    """Wait for a condition; fails the test if it never comes.

    what  the condition, as a sentence
    """
    patience = Patience(what)
    while not happened():
        patience.look()
        time.sleep(0.001)


def in_time(what: str, work: Callable[[], T]) -> T:
    """What a function returns that may wait for somebody else; fails the test if it never does.

    what  that it has, as a sentence
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()  # nobody waits for it where it never ends
    patience = Patience(what)
    while not wait([result], TURN_S).done:
        patience.look()
    return result.result()


def exit_status(process: subprocess.Popen[Any]) -> int:
    """Of a process, when it has ended by itself."""
    until(f"process {process.pid} has ended", lambda: process.poll() is not None)
    return int(process.returncode)
