"""A tokenizer's ids as bytes, and matchers of grammars over them."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import llguidance
import tokenizers

from dovetail.errors import InvalidParameter
from dovetail.tokens import read_tokenizer

from .grammar import Grammar
from .literals import literals
from .source import source_of
from .spelling import spelling_of

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
        spelling = spelling_of(tokenizer, size)
        self._tokens, self.end, self._plain = spelling.tokens, spelling.end, spelling.plain
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
        """From tokenizer.json. Raises CheckpointError."""
        return cls(read_tokenizer(path).without_patterns().backend(), size)

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
        """Raise for a text that the tokenizer makes a tag of: the tag is no text, so nothing could be drawn for it."""
        if self._plain:
            return
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
