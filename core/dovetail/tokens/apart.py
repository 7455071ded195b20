"""A tokenizer in a process of its own, for one whose patterns may take any time: it is ended when it takes too long."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dovetail.child import Child
from dovetail.errors import CheckpointError, InvalidParameter

if TYPE_CHECKING:
    from .file import TokenizerFile

LOAD_TIMEOUT_S = 60.0
TIMEOUT_S = 10.0


class Apart:
    """Turns texts into ids. Safe to use from several threads, one text at a time.

    timeout_s  that one text may take
    """

    def __init__(self, file: TokenizerFile, *, timeout_s: float | None = None) -> None:
        """Starts it, and so tries whether the file can be loaded at all. Raises CheckpointError."""
        self._file = file
        self._timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
        self._lock = threading.Lock()
        self._child: Child | None = self._started()

    def _started(self) -> Child:
        child = Child("dovetail.tokens.worker")
        why = "took more memory than there is, or failed"
        try:
            answer = child.ask({"tokenizer": self._file.text}, LOAD_TIMEOUT_S)
            if answer["error"] is None:
                return child
            why = answer["error"]
        except TimeoutError:
            why = f"took more than {LOAD_TIMEOUT_S:g} s"
        except EOFError:
            pass
        child.stop()
        raise CheckpointError(
            f"{self._file.path} cannot be loaded: with the pattern {self._file.patterns[0][:200]!r} the tokenizer {why}"
        )

    def ids(self, texts: Sequence[str], **how: Any) -> tuple[list[int], list[int]]:
        """Ids of one text or a pair and their segments; `how` as encoding.ids_of. Raises InvalidParameter or UnicodeEncodeError."""
        for text in texts:
            text.encode()  # a lone surrogate; JSON would take it
        with self._lock:
            if self._child is None:
                self._child = self._started()
            try:
                answer = self._child.ask({"texts": [*texts], **how}, self._timeout_s)
            except TimeoutError:
                raise _refused(f"takes more than {self._timeout_s:g} s") from None
            except EOFError:
                raise _refused("takes more memory than there is") from None
            finally:
                if self._child.broken:
                    self._child.stop()
                    self._child = None
        if answer["error"] is not None:
            raise _refused(f"fails: {answer['error']}")
        return answer["ids"], answer["types"]


def _refused(why: str) -> InvalidParameter:
    return InvalidParameter(f"the text cannot be tokenized: the model's tokenizer {why}")
