"""Text <-> token ids: a Hugging Face tokenizer.json and the special tokens of its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers

from dovetail.errors import CheckpointError, InvalidParameter
from dovetail.tokens import Apart, failed, ids_of, read_tokenizer

from .decoding import ByteDecoder, IncrementalDecoder, WindowDecoder

if TYPE_CHECKING:
    from collections.abc import Iterable

SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token")
_FALLBACK_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
MAX_REMEMBERED_PIECES = 1 << 20
MAX_TOKEN_BYTES = 8192
MAX_PIECE_BYTES = 512
"""Of a vocabulary in which every beginning of a token is looked up at every character."""


class Tokenizer:
    """A tokenizer as a model was trained with it.

    vocab_size   ids run below it (gaps may be among them)
    longest      bytes of the longest token
    special      bos_token, eos_token, ... -> text, where the configuration names one
    special_ids  ids that skip_special_tokens leaves out of text
    added_ids    those and other ids that were added to the vocabulary: grammars know them by their ids alone
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        config: Mapping[str, Any] | None = None,
        *,
        apart: Apart | None = None,
    ) -> None:
        """Apart: the same, in a process of its own, where texts are turned into ids there."""
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._apart = apart
        self.special = _special_texts(config or {})
        added = backend.get_added_tokens_decoder()
        self.special_ids = frozenset(i for i, token in added.items() if token.special)
        self.added_ids = frozenset(added)
        vocab = backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocab.values(), default=-1) + 1
        # a name has no fewer bytes than what it stands for: byte-level spells a byte in one or two
        self.longest = max((len(name.encode()) for name in vocab), default=1)
        self._bytewise = _is_byte_level(backend)
        self._pieces: dict[int, bytes] = {}
        self._texts: dict[int, str | None] = {}

    @classmethod
    def load(
        cls, path: Path | None, config: Mapping[str, Any] | None, *, vocab_size: int
    ) -> Tokenizer:
        """Read tokenizer.json; raises CheckpointError if it is damaged or does not fit a model of vocab_size ids."""
        if path is None or not path.is_file():
            where = path or "tokenizer.json"
            raise CheckpointError(
                f"{where} is missing; text cannot be turned into tokens without it"
            )
        file = read_tokenizer(path)
        apart = Apart(file) if file.patterns else None
        tokenizer = cls(file.backend(), config, apart=apart)
        tokenizer._check(path, vocab_size)
        return tokenizer

    def _check(self, path: Path, vocab_size: int) -> None:
        """Raise CheckpointError if it does not fit the model, or its tokens are longer than can be searched for."""
        if not 0 < self.vocab_size <= vocab_size:
            raise CheckpointError(
                f"{path} has ids up to {self.vocab_size - 1}, but the model has {vocab_size} "
                "(vocab_size in config.json); the tokenizer belongs to another model"
            )
        unigram = type(self._backend.model).__name__ == "Unigram"
        most = MAX_PIECE_BYTES if unigram else MAX_TOKEN_BYTES
        if self.longest > most:
            raise CheckpointError(
                f"{path} has a token of {self.longest} bytes; at most {most} are read"
            )
        try:
            around = self.encode("")
        except InvalidParameter as error:
            raise CheckpointError(f"{path} cannot be used: {error}") from None
        if any(token >= vocab_size for token in around):
            raise CheckpointError(
                f"{path}: post_processor adds the id {max(around)}, but the model has {vocab_size} "
                "(vocab_size in config.json)"
            )

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """The tokenizer as the package has it."""
        return self._backend

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Ids of a text. Special tokens written in the text become their ids. Raises InvalidParameter."""
        with _told("the text cannot be tokenized"):
            if self._apart is not None:
                return self._apart.ids([text], special=add_special_tokens)[0]
            # unlike encode(), a batch lets other threads of Python run
            batch = self._backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)
            ids: list[int] = batch[0].ids
        return ids

    def encode_parts(
        self, texts: Sequence[str], *, most: int | None = None, add_special_tokens: bool = True
    ) -> tuple[list[int], list[int]]:
        """Ids of one text or of a pair, put together as the model was trained, and the segment of each id.

        most  tokens to keep, special ones included; the longer of two texts loses first, at its end
        """
        with _told("the text cannot be tokenized"):
            if self._apart is not None:
                return self._apart.ids(texts, special=add_special_tokens, most=most)
            return ids_of(self._backend, texts, special=add_special_tokens, most=most)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of ids as a whole; bytes that are not UTF-8 become U+FFFD."""
        with _told("the tokens have no text"):
            text: str = self._backend.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def decoder(
        self,
        *,
        skip_special_tokens: bool = True,
        keep: Iterable[int] = (),
        prompt: Sequence[int] = (),
    ) -> IncrementalDecoder:
        """A decoder for ids that come one after another.

        keep    special ids that stay in the text
        prompt  ids before the first; their text is not given out, and the first keeps its leading space
        """
        skip = self.special_ids.difference(keep) if skip_special_tokens else frozenset()
        if self._bytewise:
            return ByteDecoder(self, skip)
        return WindowDecoder(self, skip, prompt)

    def id_of(self, token: str) -> int | None:
        """The id of a token's text, None if it is no token."""
        found: int | None = self._backend.token_to_id(token)
        return found

    def name_of(self, token_id: int) -> str | None:
        """The vocabulary's own spelling of an id, None for an id without one."""
        name: str | None = self._backend.id_to_token(token_id)
        return name

    def piece(self, token_id: int) -> bytes:
        """The bytes an id stands for, special tokens as written; empty for an id without a token."""
        piece = self._pieces.get(token_id)
        if piece is None:
            if len(self._pieces) >= MAX_REMEMBERED_PIECES:
                self._pieces.clear()
            piece = self._pieces[token_id] = self._make_piece(token_id)
        return piece

    def piece_text(self, token_id: int) -> str | None:
        """The text of an id that is whole characters by itself, None for one that is not."""
        try:
            return self._texts[token_id]
        except KeyError:
            pass
        try:
            text: str | None = self.piece(token_id).decode()
        except UnicodeDecodeError:
            text = None
        if len(self._texts) >= MAX_REMEMBERED_PIECES:
            self._texts.clear()
        self._texts[token_id] = text
        return text

    def _make_piece(self, token_id: int) -> bytes:
        name = self.name_of(token_id) if token_id >= 0 else None
        if name is None:
            return b""
        if self._bytewise:
            if all(char in BYTE_OF for char in name):
                return bytes(BYTE_OF[char] for char in name)
            return name.encode()
        if token_id in self.special_ids:
            return name.encode()
        if fallback := _FALLBACK_BYTE.fullmatch(name):
            return bytes([int(fallback[1], 16)])
        return name.replace("▁", " ").encode()


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Raise InvalidParameter where the library fails."""
    try:
        yield
    except InvalidParameter:
        raise
    except (UnicodeEncodeError, TypeError):  # how it refuses depends on its version
        raise InvalidParameter(
            "the text holds a lone surrogate (half of an escaped UTF-16 pair), which is no character"
        ) from None
    except BaseException as error:
        if not failed(error):
            raise
        why = " ".join(str(error).split())[:300]
        raise InvalidParameter(f"{what}: the model's tokenizer fails: {why}") from None


def _special_texts(config: Mapping[str, Any]) -> dict[str, str]:
    texts = {}
    for name in SPECIAL_NAMES:
        value = config.get(name)
        if isinstance(value, Mapping):
            value = value.get("content")
        if isinstance(value, str):
            texts[name] = value
    return texts


def _is_byte_level(backend: tokenizers.Tokenizer) -> bool:
    """Whether the text of ids is the concatenation of their bytes."""
    return type(backend.decoder).__name__ == "ByteLevel"


def _byte_of_char() -> dict[str, int]:
    """The spelling of bytes as characters in byte-level vocabularies (Radford et al. 2019, GPT-2)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


BYTE_OF = _byte_of_char()
