"""Whether a grammar can be kept to: asked before a request is queued, off the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dovetail.errors import InvalidParameter

from .grammar import Grammar

if TYPE_CHECKING:
    import tokenizers

    from .vocabulary import Vocabulary


class GrammarCheck:
    """Compiles grammars to see whether they can be. Used on the event loop.

    tokenizer  of the model
    size       of its vocabulary
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, size: int) -> None:
        self._tokenizer = tokenizer
        self._size = size
        self._vocabulary: Vocabulary | None = None
        self._threads = ThreadPoolExecutor(1, "dovetail-grammar-check")

    async def check(self, grammar: Grammar) -> None:
        """Raise InvalidParameter, which names the field and what is wrong, if a grammar cannot be enforced."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads, self._compile, grammar)
        except InvalidParameter as error:
            raise InvalidParameter(
                f"{grammar.field or 'the grammar'}: {error}", param=grammar.field or None
            ) from None

    def _compile(self, grammar: Grammar) -> None:
        if self._vocabulary is None:
            from .vocabulary import Vocabulary

            self._vocabulary = Vocabulary(self._tokenizer, self._size)
        self._vocabulary.matcher(grammar)
