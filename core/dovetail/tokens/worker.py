"""The process behind apart.py: `python -m dovetail.tokens.worker`.

First {"tokenizer"}, then {"texts", "special", "most"} each; answered by {"error"} or {"error": null, "ids", "types"}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import tokenizers

from dovetail.child import answer, limit_memory

from .encoding import ids_of
from .file import failed

MEMORY_BYTES = 2 << 30


def main() -> None:
    """Answer until stdin ends."""
    limit_memory(MEMORY_BYTES)
    backend: tokenizers.Tokenizer | None = None
    for line in sys.stdin.buffer:
        question = json.loads(line)
        try:
            if backend is None:
                backend = tokenizers.Tokenizer.from_str(question["tokenizer"])
                answer({"error": None})
            else:
                answer(_encoded(backend, **question))
        except BaseException as error:
            if not failed(error):
                raise
            answer({"error": " ".join(str(error).split())[:300]})


def _encoded(backend: tokenizers.Tokenizer, texts: Sequence[str], **how: Any) -> dict[str, Any]:
    ids, types = ids_of(backend, texts, **how)
    return {"error": None, "ids": ids, "types": types}


if __name__ == "__main__":
    main()
