"""The process that compiles grammars to see whether they can be: `python -m dovetail.structured.worker`, started by check.py.

A grammar may be written to exhaust time, memory or the stack; here it takes nothing along. One JSON object per line: first
{"tokenizer", "size"}, then a grammar each; answered by {"error"}.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from typing import Any

import tokenizers

from dovetail.errors import InvalidParameter

from .grammar import Grammar
from .vocabulary import Vocabulary

STACK_BYTES = 64 << 20  # less than what the engine compiles with
MEMORY_BYTES = 2 << 30


def main() -> None:
    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()


def serve() -> None:
    """Answer until stdin ends."""
    first = json.loads(sys.stdin.buffer.readline())
    vocabulary = Vocabulary(tokenizers.Tokenizer.from_str(first["tokenizer"]), first["size"])
    _limit_memory()
    _answer({"error": None})
    for line in sys.stdin.buffer:
        _answer({"error": _error(vocabulary, Grammar(**json.loads(line)))})


def _error(vocabulary: Vocabulary, grammar: Grammar) -> str | None:
    try:
        vocabulary.compile(grammar)
    except InvalidParameter as error:
        return str(error)
    return None


def _limit_memory() -> None:
    """What is there now and MEMORY_BYTES more, where the system can say so."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as statm:
            now = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, now + MEMORY_BYTES))


def _answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
