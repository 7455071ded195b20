"""Whether a grammar can be kept to: asked before a request is queued, in a process that may fail."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING

from dovetail.child import Child
from dovetail.errors import EngineError, InvalidParameter

from .grammar import Grammar

if TYPE_CHECKING:
    import tokenizers

TIMEOUT_S = 5.0
START_TIMEOUT_S = 120.0
MAX_REMEMBERED = 4096
MAX_REMEMBERED_BYTES = 8 << 20


class GrammarCheck:
    """Says of grammars whether they can be enforced, and remembers what it said. Used on the event loop.

    The process starts with `prepare` or the first grammar, and again after one that broke it.

    tokenizer  of the model
    size       of its vocabulary
    timeout_s  that compiling one may take
    """

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, size: int, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._tokenizer = tokenizer
        self._size = size
        self._timeout_s = timeout_s
        self._thread = ThreadPoolExecutor(1, "dovetail-grammar-check")
        self._process: Child | None = None
        self._known: OrderedDict[Grammar, str | None] = OrderedDict()
        self._bytes = 0

    def prepare(self) -> None:
        """Start the process now; whatever goes wrong is told to the first request that needs it."""
        self._thread.submit(self._started)

    def _started(self) -> Child:
        if self._process is None:
            self._process = _process(self._tokenizer.to_str(), self._size)
        return self._process

    async def check(self, grammar: Grammar) -> None:
        """Raise InvalidParameter, which names the field and what is wrong, if a grammar cannot be enforced."""
        if grammar in self._known:
            self._known.move_to_end(grammar)
            error = self._known[grammar]
        else:
            loop = asyncio.get_running_loop()
            error = await loop.run_in_executor(self._thread, self._ask, grammar)
            self._remember(grammar, error)
        if error is not None:
            raise InvalidParameter(
                f"{grammar.field or 'the grammar'}: {error}", param=grammar.field or None
            )

    def _ask(self, grammar: Grammar) -> str | None:
        """What is wrong with a grammar; asked again if the process had died of something else."""
        for _ in range(2):
            process = self._started()
            try:
                error: str | None = process.ask(asdict(grammar), self._timeout_s)["error"]
                return error
            except TimeoutError:
                why = f"it takes more than {self._timeout_s:g} s to compile"
                break
            except EOFError:
                why = "it takes more memory or deeper recursion to compile than there is"
            finally:
                if process.broken:
                    process.stop()
                    self._process = None
        return f"the {grammar.kind} cannot be enforced: {why}; make it simpler"

    def _remember(self, grammar: Grammar, error: str | None) -> None:
        if grammar not in self._known:
            self._known[grammar] = error
            self._bytes += len(grammar.text)
        while len(self._known) > MAX_REMEMBERED or self._bytes > MAX_REMEMBERED_BYTES:
            old, _ = self._known.popitem(last=False)
            self._bytes -= len(old.text)


def _process(tokenizer: str, size: int) -> Child:
    """A running worker.py."""
    child = Child("dovetail.structured.worker")
    try:
        child.ask({"tokenizer": tokenizer, "size": size}, START_TIMEOUT_S)
    except (TimeoutError, EOFError):
        child.stop()
        raise EngineError("the process that checks grammars did not start") from None
    return child
