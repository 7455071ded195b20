"""A tokenizer's ids as bytes, and matchers of grammars over them."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import llguidance
import tokenizers

from dovetail.errors import InvalidParameter

from .grammar import Grammar
from .literals import literals
from .source import source_of

END = "<|end of the grammar|>"
MAX_CACHED = 256
MAX_CACHED_BYTES = 8 << 20
LIMITS: dict[str, Any] = {
    "max_items_in_row": 20_000,
    "initial_lexer_fuel": 1_000_000,
    "step_lexer_fuel": 200_000,
    "step_max_items": 200_000,
    "max_lexer_states": 50_000,
    "max_grammar_size": 200_000,
    "verbose_errors": False,
}


class Vocabulary:
    """What the ids of a model stand for, and a bounded number of compiled grammars. Any thread may use it.

    size  of the model's vocabulary; ids that the tokenizer lacks are never allowed
    tags  texts that are single tokens beside the vocabulary proper -> their ids
    end   bit of a mask that says: the reply may end here. It is no id of the model.
    words 32-bit words of a mask as it is computed, the end's bit included
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, size: int) -> None:
        self.size = size
        self._tokens, self.end = _with_end(tokenizer, size)
        self.tags = {
            token.content: token_id
            for token_id, token in tokenizer.get_added_tokens_decoder().items()
            if token.content
        }
        apart = [text for text, token in self.tags.items() if self._tokens.is_special_token(token)]
        self._apart = re.compile("|".join(map(re.escape, apart)) if apart else "(?!)")
        self.words = (self._tokens.vocab_size + 31) // 32
        self._limits = llguidance.LLParserLimits(**LIMITS)
        self._compiled: OrderedDict[Grammar, llguidance.LLMatcher] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: Path, size: int) -> Vocabulary:
        """From tokenizer.json."""
        return cls(tokenizers.Tokenizer.from_file(str(path)), size)

    def matcher(self, grammar: Grammar) -> llguidance.LLMatcher:
        """A matcher at the start of a grammar; compiled, or a copy of one that was. Raises InvalidParameter."""
        with self._lock:
            found = self._compiled.get(grammar)
            if found is not None:
                self._compiled.move_to_end(grammar)
                return found.deep_copy()
        made = self.compile(grammar)
        with self._lock:
            self._keep(grammar, made)
        return made.deep_copy()

    def compile(self, grammar: Grammar) -> llguidance.LLMatcher:
        """A new matcher. Raises InvalidParameter for a grammar that cannot be enforced or that nothing satisfies."""
        made = llguidance.LLMatcher(
            self._tokens, source_of(grammar, self.tags), log_level=0, limits=self._limits
        )
        if made.is_error():
            raise InvalidParameter(f"the {grammar.kind} cannot be enforced: {reason(made)}")
        self._check_literals(grammar)
        self._check_start(made.deep_copy(), grammar)
        return made

    def _check_literals(self, grammar: Grammar) -> None:
        """Raise for a text that a tokenizer makes a tag of: the tag is no text, so nothing could be drawn for it."""
        for text in literals(grammar):
            if (found := self._apart.search(text)) is not None:
                raise InvalidParameter(
                    f"the {grammar.kind} wants {text[:100]!r}, in which {found[0][:100]!r} is a token of this model "
                    "that stands for no text; leave it out"
                )

    def _check_start(self, matcher: llguidance.LLMatcher, grammar: Grammar) -> None:
        """Raise unless there is a first token; what comes later is seen when it comes."""
        mask = int.from_bytes(matcher.compute_bitmask(), "little")
        if matcher.is_error() and "NoExtension" not in matcher.get_error():
            raise InvalidParameter(f"the {grammar.kind} cannot be enforced: {reason(matcher)}")
        if matcher.is_error() or mask in (0, 1 << self.end):
            raise InvalidParameter(f"the {grammar.kind} allows nothing, or nothing but no text")

    def _keep(self, grammar: Grammar, made: llguidance.LLMatcher) -> None:
        if grammar not in self._compiled:
            self._compiled[grammar] = made
            self._bytes += len(grammar.text) + len(grammar.frame)
        while len(self._compiled) > MAX_CACHED or self._bytes > MAX_CACHED_BYTES:
            old, _ = self._compiled.popitem(last=False)
            self._bytes -= len(old.text) + len(old.frame)


def reason(matcher: llguidance.LLMatcher) -> str:
    """Why a matcher cannot go on, in one line."""
    error: str = matcher.get_error()
    return " ".join(error.replace("<non-verbose/>", "").split())[:1000]


def _with_end(tokenizer: tokenizers.Tokenizer, size: int) -> tuple[llguidance.LLTokenizer, int]:
    """llguidance's tokenizer, and the id after the last that stands for the end: which ids end a reply the request says.

    Byte-level tokenizers and those with byte fallback it reads itself; of others it is told the bytes.
    """
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    end = max(vocab.values(), default=-1) + 1
    width = max(size, end + 1)
    if end == len(vocab):
        copy = tokenizers.Tokenizer.from_str(tokenizer.to_str())
        copy.add_special_tokens([END])
        if copy.token_to_id(END) == end:
            with contextlib.suppress(ValueError):
                return llguidance.LLTokenizer(copy.to_str(), n_vocab=width, eos_token=[end]), end
    wrapped = llguidance.TokenizerWrapper(_Spelled(tokenizer, vocab, end, width))
    return llguidance.LLTokenizer(wrapped, eos_token=[end]), end


class _Spelled:
    """A tokenizer whose tokens are told as bytes, for those that neither spell bytes nor fall back to them."""

    bos_token_id = None

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, vocab: dict[str, int], end: int, width: int
    ) -> None:
        added = tokenizer.get_added_tokens_decoder()
        self._tokenizer = tokenizer
        self.eos_token_id = end
        self.special_token_ids = [*(i for i, token in added.items() if token.special), end]
        special = set(self.special_token_ids)
        self.tokens = [b""] * width
        for name, token in vocab.items():
            text = name if token in special else name.replace("▁", " ")
            self.tokens[token] = text.encode()
        self.tokens[end] = END.encode()

    def __call__(self, text: str | bytes) -> list[int]:
        if isinstance(text, bytes):
            text = text.decode()
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids
