"""A tokenizer's ids as llguidance wants them: what bytes each stands for, and one id more that says: the reply may end.

Byte-level tokenizers are spelled here. llguidance can read their files itself, but takes a second tokenizer and three times the
time to do so, during which no other thread of the process runs. Those with byte fallback it reads; of others it is told names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import llguidance
import tokenizers
from tokenizers import decoders

END = "<|end of the grammar|>"
SAMPLES = ("test", " a  b\n\tc", '{"k": [1, -2.5, "é中😀"]}')


@dataclass(frozen=True, slots=True)
class Spelling:
    """llguidance's tokenizer.

    end     the id after the last, which stands for the end; which ids end a reply the request says
    plain   text that reads like one of the model's tags is spelled like other text; else it would become the tag
    """

    tokens: llguidance.LLTokenizer
    end: int
    plain: bool


def spelling_of(tokenizer: tokenizers.Tokenizer, size: int) -> Spelling:
    """Of a tokenizer, for a model of `size` ids."""
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    end = max(vocab.values(), default=-1) + 1
    width = max(size, end + 1)
    spelled = _Spelled(tokenizer, vocab, end, width, _byte_level)
    if isinstance(tokenizer.decoder, decoders.ByteLevel) and spelled.faithful():
        return Spelling(spelled.made(), end, plain=True)
    if end == len(vocab):
        copy = tokenizers.Tokenizer.from_str(tokenizer.to_str())
        copy.add_special_tokens([END])
        if copy.token_to_id(END) == end:
            with contextlib.suppress(ValueError):
                tokens = llguidance.LLTokenizer(copy.to_str(), n_vocab=width, eos_token=[end])
                return Spelling(tokens, end, plain=False)
    return Spelling(_Spelled(tokenizer, vocab, end, width, _as_named).made(), end, plain=True)


class _Spelled:
    """A tokenizer whose tokens are told as bytes; the names are llguidance's.

    spell  names of tokens of the vocabulary proper -> bytes; added ones are what they are called
    """

    bos_token_id = None

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        vocab: Mapping[str, int],
        end: int,
        width: int,
        spell: Callable[[str], bytes],
    ) -> None:
        added = tokenizer.get_added_tokens_decoder()
        self._plain = _without_tags(tokenizer)
        self.eos_token_id = end
        tags = (i for i, token in added.items() if token.special or _is_tag(token.content))
        self.special_token_ids = [*tags, end]
        self.tokens = [b""] * width
        for name, token in vocab.items():
            self.tokens[token] = name.encode() if token in added else spell(name)
        self.tokens[end] = END.encode()

    def __call__(self, text: str | bytes) -> list[int]:
        if isinstance(text, bytes):
            text = text.decode()
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def faithful(self) -> bool:
        """Whether texts are what their tokens spell."""
        return all(b"".join(self.tokens[i] for i in self(s)) == s.encode() for s in SAMPLES)

    def made(self) -> llguidance.LLTokenizer:
        return llguidance.LLTokenizer(
            llguidance.TokenizerWrapper(self), eos_token=[self.eos_token_id]
        )


def _without_tags(tokenizer: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The same, but text that reads like a tag is spelled like other text: a tag is what a grammar names by its id."""
    plain = tokenizers.Tokenizer(tokenizer.model)
    for part in ("normalizer", "pre_tokenizer"):
        if (found := getattr(tokenizer, part)) is not None:
            setattr(plain, part, found)
    return plain


def _is_tag(content: str) -> bool:
    """Added tokens that look like this stand for no text, whether they are declared special or not."""
    return content.startswith("<") and content.endswith(">")


def _byte_characters() -> dict[int, int]:
    """Code points that GPT-2's byte-level vocabularies write bytes with -> the bytes.

    Printable characters of Latin-1 stand for themselves, the other bytes in order for those from U+0100.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: byte for byte in plain} | {0x100 + at: byte for at, byte in enumerate(others)}


_BYTES = _byte_characters()


def _byte_level(name: str) -> bytes:
    """b"" for a name that is no such writing."""
    try:
        return name.translate(_BYTES).encode("latin-1")
    except UnicodeEncodeError:
        return b""


def _as_named(name: str) -> bytes:
    return name.replace("▁", " ").encode()
