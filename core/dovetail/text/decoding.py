"""Token ids that come one after another -> pieces of text; a character is never split."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_HELD = 32  # ids a window waits for the rest of a character; longer is no character but noise


class IncrementalDecoder(Protocol):
    """Text of a growing sequence: the pieces, joined, are the text of the whole."""

    def push(self, ids: Sequence[int]) -> str:
        """The text that the new ids complete."""

    def flush(self) -> str:
        """What is left at the end: U+FFFD for bytes that never became a character."""


class ByteDecoder:
    """For byte-level vocabularies, where the text is the UTF-8 of the joined bytes; constant time per id."""

    __slots__ = ("_pending", "_skip", "_tokenizer", "_utf8")

    def __init__(self, tokenizer: Tokenizer, skip: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._skip = skip
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = False

    def push(self, ids: Sequence[int]) -> str:
        if len(ids) == 1 and not self._pending:
            token = ids[0]
            if token in self._skip:
                return ""
            text = self._tokenizer.piece_text(token)
            if text is not None:
                return text
        piece, skip = self._tokenizer.piece, self._skip
        text = self._utf8.decode(b"".join([piece(token) for token in ids if token not in skip]))
        self._pending = bool(self._utf8.getstate()[0])
        return text

    def flush(self) -> str:
        self._pending = False
        return self._utf8.decode(b"", final=True)


class WindowDecoder:
    """For every other vocabulary: decodes the ids since the last piece together with those of that piece.

    The piece before is decoded again because a token's text may depend on its neighbour (a leading space, for one).
    """

    __slots__ = ("_ids", "_read", "_skip", "_tokenizer")

    def __init__(
        self, tokenizer: Tokenizer, skip: frozenset[int], prompt: Sequence[int] = ()
    ) -> None:
        self._tokenizer = tokenizer
        self._skip = skip
        self._ids = self._context(prompt)
        self._read = len(self._ids)  # ids[:read] are the piece before, ids[read:] are new

    def _context(self, prompt: Sequence[int]) -> list[int]:
        """The prompt's last id with text of its own: as much as an id's text depends on."""
        for token in prompt[-1 : -MAX_HELD - 1 : -1]:
            if token not in self._skip and self._tokenizer.piece_text(token):
                return [token]
        return []

    def push(self, ids: Sequence[int]) -> str:
        self._ids += [i for i in ids if i not in self._skip and self._tokenizer.piece(i)]
        if len(self._ids) == self._read:
            return ""
        text = self._text(self._ids)
        if text.endswith(REPLACEMENT) and len(self._ids) - self._read < MAX_HELD:
            return ""
        return self._advance(text)

    def flush(self) -> str:
        return self._advance(self._text(self._ids)) if len(self._ids) > self._read else ""

    def _advance(self, text: str) -> str:
        known = len(self._text(self._ids[: self._read]))
        del self._ids[: self._read]
        self._read = len(self._ids)
        return text[known:]

    def _text(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)
