"""Whether a grammar can be kept to: asked before a request is queued, in a process that may fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import subprocess
import sys
import time
import weakref
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dovetail.errors import EngineError, InvalidParameter

from .grammar import Grammar

if TYPE_CHECKING:
    import tokenizers

TIMEOUT_S = 5.0
START_TIMEOUT_S = 120.0
MAX_REMEMBERED = 4096
MAX_REMEMBERED_BYTES = 8 << 20
READ_BYTES = 1 << 16


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
        self._process: _Process | None = None
        self._known: OrderedDict[Grammar, str | None] = OrderedDict()
        self._bytes = 0

    def prepare(self) -> None:
        """Start the process now; whatever goes wrong is told to the first request that needs it."""
        self._thread.submit(self._started)

    def _started(self) -> _Process:
        if self._process is None:
            self._process = _Process(self._tokenizer.to_str(), self._size)
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
                return process.ask(asdict(grammar), self._timeout_s)
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


class _Process:
    """A running worker.py. It ends with its owner."""

    def __init__(self, tokenizer: str, size: int) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "dovetail.structured.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        self.stop = weakref.finalize(self, _end, self._popen)
        self._rest = b""
        self.broken = False
        try:
            self.ask({"tokenizer": tokenizer, "size": size}, START_TIMEOUT_S)
        except (TimeoutError, EOFError):
            self.stop()
            raise EngineError("the process that checks grammars did not start") from None

    def ask(self, question: dict[str, Any], timeout_s: float) -> str | None:
        """Its answer; raises TimeoutError, or EOFError if it has ended, and is broken then."""
        assert self._popen.stdin is not None
        self.broken = True
        try:
            self._popen.stdin.write(json.dumps(question).encode() + b"\n")
            self._popen.stdin.flush()
        except BrokenPipeError:
            raise EOFError from None
        answer: str | None = json.loads(self._line(time.monotonic() + timeout_s))["error"]
        self.broken = False
        return answer

    def _line(self, deadline: float) -> bytes:
        assert self._popen.stdout is not None
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._popen.stdout], [], [], left)[0]:
                raise TimeoutError
            data = self._popen.stdout.read1(READ_BYTES)  # type: ignore[attr-defined]
            if not data:
                raise EOFError
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # what was not written is not wanted any more
                stream.close()
