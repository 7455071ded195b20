"""Which tokens hold or begin a string that no repetition reaches over (samplers/dry.py)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from .tokenizer import Tokenizer

MAX_TAIL = 20
"""Tokens that complete a breaker, at most, as in llama.cpp."""
MAX_REMEMBERED = 256


class Breakers:
    """Strings as token ids: [id] for a token that holds the whole string, [id, ...] for one that ends with its beginning,
    followed by the tokens of the rest.

    Strings are searched in the bytes of all tokens laid end to end, which are made at the first ask.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pieces: list[bytes] = []
        self._all = b""
        self._starts: list[int] = []
        self._ending: dict[int, list[int]] = {}
        self._known: dict[str, list[list[int]]] = {}

    def ids(self, strings: Sequence[str]) -> list[list[int]]:
        """Of all strings together."""
        if not self._pieces:
            self._read_vocabulary()
        found: list[list[int]] = []
        for text in strings:
            if text not in self._known:
                if len(self._known) >= MAX_REMEMBERED:
                    self._known.clear()
                self._known[text] = self._find(text)
            found += self._known[text]
        return found

    def _read_vocabulary(self) -> None:
        self._pieces = [self._tokenizer.piece(i) for i in range(self._tokenizer.vocab_size)]
        self._all = b"".join(self._pieces)
        self._starts = [0, *accumulate(map(len, self._pieces))]
        for token, piece in enumerate(self._pieces):
            if piece:
                self._ending.setdefault(piece[-1], []).append(token)

    def _find(self, text: str) -> list[list[int]]:
        wanted = text.encode()
        whole = set(self._holding(wanted))
        found = [[token] for token in sorted(whole)]
        for length in range(1, len(wanted)):
            try:
                rest = wanted[length:].decode()
            except UnicodeDecodeError:
                continue  # in the middle of a character
            tail: list[int] | None = None
            for token in self._ending.get(wanted[length - 1], ()):
                if token not in whole and self._pieces[token].endswith(wanted[:length]):
                    if tail is None:
                        tail = self._tokenizer.encode(rest, add_special_tokens=False)[:MAX_TAIL]
                    found.append([token, *tail])
        return found

    def _holding(self, wanted: bytes) -> Iterator[int]:
        """Tokens in whose bytes the string is; a match that reaches over the end of one is none."""
        at = self._all.find(wanted)
        while at >= 0:
            token = bisect_right(self._starts, at) - 1
            if at + len(wanted) <= self._starts[token + 1]:
                yield token
            at = self._all.find(wanted, at + 1)
