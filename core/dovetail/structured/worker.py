"""The process that compiles grammars to see whether they can be: `python -m dovetail.structured.worker`, started by check.py.

A grammar may be written to exhaust time, memory or the stack; here it takes nothing along. One JSON object per line: first
{"tokenizer", "size"}, then a grammar each; answered by {"error"}.
"""

from __future__ import annotations

import json
import sys
import threading

import tokenizers

from dovetail.child import answer, limit_memory
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
    limit_memory(MEMORY_BYTES)
    answer({"error": None})
    for line in sys.stdin.buffer:
        answer({"error": _error(vocabulary, Grammar(**json.loads(line)))})


def _error(vocabulary: Vocabulary, grammar: Grammar) -> str | None:
    try:
        vocabulary.compile(grammar)
    except InvalidParameter as error:
        return str(error)
    return None


if __name__ == "__main__":
    main()
