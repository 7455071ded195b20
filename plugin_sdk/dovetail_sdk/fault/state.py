"""What a model of the fault platform and its programs share."""

from __future__ import annotations

import threading
from collections import Counter

from dovetail.errors import OutOfMemory

from .faults import Faults


class State:
    """The faults of a model, and what has happened so far.

    steps   issued
    closed  set when the model is closed: ends a hang
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.steps = 0
        self.closed = threading.Event()
        self._calls: Counter[str] = Counter()

    def call(self, word: str, message: str) -> None:
        """Count a call; raises OutOfMemory if it is one that does."""
        self._calls[word] += 1
        if self._calls[word] in self.faults.calls.get(word, ()):
            raise OutOfMemory(f"planted: {message}")
