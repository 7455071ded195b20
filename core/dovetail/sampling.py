"""How the tokens of one request are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

from .errors import InvalidParameter
from .sampler_names import checked_order
from .structured.grammar import Grammar

MAX_LOGPROBS = 20
MAX_STOP = 16
MAX_BAD_WORDS, MAX_BAD_LENGTH = 64, 100
MAX_N = 128
MAX_BREAKERS, MAX_BREAKER_LENGTH = 16, 40
BREAKERS = ("\n", ":", '"', "*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Sampling parameters of a request; the names are OpenAI's, vLLM's and llama.cpp's.

    temperature         0 takes the most likely token; at most 2
    top_k               keep the k most likely; 0 or -1 keeps all
    top_p               keep the smallest set whose probability reaches it, (0, 1]
    min_p               drop tokens below min_p times the largest probability, [0, 1]
    repetition_penalty  divides positive and multiplies negative logits of tokens in prompt or output, (0, 2]
    presence_penalty    subtracted once from tokens in the output, [-2, 2]
    frequency_penalty   subtracted per occurrence in the output, [-2, 2]
    logit_bias          token id -> addend, [-100, 100]
    seed                makes draws repeatable: keyed by seed and position alone; None draws a fresh one
    max_tokens          tokens to generate at most; None means what the context leaves
    min_tokens          no end-of-sequence or stop token before this many
    stop                strings that end the text and are not part of it, at most 16; one string is taken as it is
    stop_token_ids      token ids that end the sequence
    allowed_token_ids   no other is drawn, the end neither; empty: any
    bad_words           texts that are not written, at most 64: the tokens that spell a word, at the beginning or after a
                        space, do not follow each other in the output
    ignore_eos          the end-of-sequence token does not end it
    n                   independent completions of the same prompt
    logprobs            report the chosen token's log-probability and this many alternatives; None for none
    prompt_logprobs     the same for every prompt token but the first
    include_stop_str_in_output   keep the stop string that ended the text
    skip_special_tokens          leave special tokens out of the text
    grammar                      what the output must look like; where it is complete the sequence ends, min_tokens and
                                 ignore_eos notwithstanding

    llama.cpp's, with its defaults (docs/sampling.md). A request that sets any of them but the DRY ones and repeat_last_n
    has its samplers applied in llama.cpp's order, in which the temperature comes last.

    top_n_sigma         keep what is within this many standard deviations of the largest logit; 0 or less keeps all
    typical_p           keep the smallest set around the expected surprise whose probability exceeds it; 1 keeps all
    xtc_probability     how often all tokens that reach xtc_threshold but the least likely of them are dropped, [0, 1]
    xtc_threshold       above 0.5 there are never two such tokens
    dynatemp_range      the temperature varies by this much around `temperature` with the entropy; 0: it does not
    dynatemp_exponent   how it follows the entropy
    mirostat            1 or 2 keeps the surprise of tokens near mirostat_tau (bits), in place of all that truncates; 0 does not
    mirostat_eta        how fast
    dry_multiplier      penalty of a token that would continue a repetition; 0: none
    dry_base            factor by which it grows with each token that the repetition is longer than dry_allowed_length
    dry_penalty_last_n  tokens that are looked at for repetitions, -1 for all
    dry_sequence_breakers  strings that no repetition reaches over, at most 16
    repeat_last_n       tokens that the three penalties count, -1 for all
    samplers            which samplers are applied, in this order; None for all of them in llama.cpp's
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] = field(default_factory=dict)
    seed: int | None = None
    max_tokens: int | None = 16
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    allowed_token_ids: tuple[int, ...] = ()
    bad_words: tuple[str, ...] = ()
    ignore_eos: bool = False
    n: int = 1
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    grammar: Grammar | None = None
    top_n_sigma: float = -1.0
    typical_p: float = 1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: tuple[str, ...] = BREAKERS
    repeat_last_n: int = -1
    samplers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, value, default in zip(_NUMBERS, _numbers_of(self), _DEFAULTS, strict=True):
            if value is default:  # nearly every request leaves nearly all of them out
                continue
            if value != default or type(value) is not type(default):  # off the wire: its equal
                _check_number(name, value)
        self._check_collections()
        if self.dry_sequence_breakers is not BREAKERS:
            self._check_breakers()
        if self.samplers is not None:
            self._keep_tuple("samplers", self.samplers)
            object.__setattr__(self, "samplers", checked_order(self.samplers))
        if self.mirostat:
            self._refuse_beside_mirostat()

    def _check_breakers(self) -> None:
        self._keep_tuple("dry_sequence_breakers", self.dry_sequence_breakers)
        breakers = self.dry_sequence_breakers
        if len(breakers) > MAX_BREAKERS or not all(
            isinstance(text, str) and 0 < len(text) <= MAX_BREAKER_LENGTH for text in breakers
        ):
            raise InvalidParameter(
                f"dry_sequence_breakers must be at most {MAX_BREAKERS} strings of 1 to {MAX_BREAKER_LENGTH} characters",
                param="dry_sequence_breakers",
            )

    def _refuse_beside_mirostat(self) -> None:
        """What a request can only have set itself; top_k, top_p and min_p may be defaults of the model."""
        neutral = {
            "top_n_sigma": self.top_n_sigma <= 0,
            "typical_p": self.typical_p == 1,
            "xtc_probability": self.xtc_probability == 0,
            "dynatemp_range": self.dynatemp_range == 0,
            "samplers": self.samplers is None,
        }
        for name, unused in neutral.items():
            if not unused:
                raise InvalidParameter(
                    f"mirostat replaces {name}; leave one of the two out", param=name
                )

    def _check_collections(self) -> None:
        self._keep_tuple("stop", (self.stop,) if isinstance(self.stop, str) else self.stop)
        self._keep_tuple("stop_token_ids", self.stop_token_ids)
        self._keep_tuple("allowed_token_ids", self.allowed_token_ids)
        if len(self.stop) > MAX_STOP:
            raise InvalidParameter(
                f"stop has {len(self.stop)} strings; at most {MAX_STOP} are allowed", param="stop"
            )
        self._keep_tuple("bad_words", self.bad_words)
        if len(self.bad_words) > MAX_BAD_WORDS or not all(
            isinstance(text, str) and text.strip() and len(text) <= MAX_BAD_LENGTH
            for text in self.bad_words
        ):
            raise InvalidParameter(
                f"bad_words must be at most {MAX_BAD_WORDS} strings of 1 to {MAX_BAD_LENGTH} characters",
                param="bad_words",
            )
        if any(not isinstance(text, str) or not text for text in self.stop):
            raise InvalidParameter("stop must hold non-empty strings", param="stop")
        for token in self.stop_token_ids:
            check_int("stop_token_ids", token, 0, 2**31 - 1)
        for token in self.allowed_token_ids:
            check_int("allowed_token_ids", token, 0, 2**31 - 1)
        for name in ("allowed_token_ids", "bad_words"):
            if getattr(self, name) and self.grammar is not None:
                raise InvalidParameter(
                    f"{name} and a form of the reply exclude each other; give one of them",
                    param=name,
                )
        for token, bias in self.logit_bias.items():
            check_int("logit_bias", token, 0, 2**31 - 1)
            check_range("logit_bias", bias, -100, 100)
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise InvalidParameter(
                f"min_tokens is {self.min_tokens}, more than max_tokens, {self.max_tokens}",
                param="min_tokens",
            )

    def _keep_tuple(self, name: str, given: Any) -> None:
        """Lists and None are what callers have; a tuple is kept."""
        if given is not None and not isinstance(given, list | tuple):
            raise InvalidParameter(f"{name} must be a list, not {given!r}", param=name)
        object.__setattr__(self, name, tuple(given or ()))

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is taken."""
        return self.temperature == 0

    @property
    def penalised(self) -> bool:
        """Whether logits depend on the tokens generated before, by count."""
        return (
            (
                self.repetition_penalty != 1
                or self.presence_penalty != 0
                or self.frequency_penalty != 0
            )
            and self.repeat_last_n != 0
            and self._uses("penalties")
        )

    @property
    def dry(self) -> bool:
        """Whether tokens that continue a repetition are penalised."""
        return self.dry_multiplier > 0 and self.dry_penalty_last_n != 0 and self._uses("dry")

    @property
    def extended(self) -> bool:
        """Whether it asks for samplers that the core applies itself."""
        return (
            self.top_n_sigma > 0
            or self.typical_p < 1
            or (self.xtc_probability > 0 and self.xtc_threshold <= 0.5)
            or self.dynatemp_range > 0
            or self.mirostat > 0
            or self.samplers is not None
        )

    @property
    def late(self) -> bool:
        """Whether a token can only be drawn once those before it are known."""
        return (
            self.penalised
            or self.dry
            or self.extended
            or self.grammar is not None
            or bool(self.bad_words)
        )

    def _uses(self, sampler: str) -> bool:
        return self.samplers is None or sampler in self.samplers


RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "repetition_penalty": (0, 2),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "top_n_sigma": (-1, 1000),
    "typical_p": (0, 1),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "dynatemp_range": (0, 2),
    "dynatemp_exponent": (0, 10),
    "mirostat_tau": (0, 100),
    "mirostat_eta": (0, 10),
    "dry_multiplier": (0, 100),
    "dry_base": (1, 100),
}


LOW_OPEN = {"top_p", "repetition_penalty", "typical_p"}  # their lowest value is none of theirs
OPTIONAL = {"max_tokens", "seed", "logprobs", "prompt_logprobs"}  # None says something too
INTEGERS = {
    "top_k": (-1, 2**31 - 1),
    "n": (1, MAX_N),
    "min_tokens": (0, 2**31 - 1),
    "max_tokens": (0, 2**31 - 1),
    "seed": (-(2**63), 2**64 - 1),
    "logprobs": (0, MAX_LOGPROBS),
    "prompt_logprobs": (0, MAX_LOGPROBS),
    "dry_allowed_length": (0, 2**31 - 1),
    "dry_penalty_last_n": (-1, 2**31 - 1),
    "repeat_last_n": (-1, 2**31 - 1),
    "mirostat": (0, 2),
}
_NUMBERS = (*RANGES, *INTEGERS)
_numbers_of = attrgetter(*_NUMBERS)
_DEFAULTS = tuple({f.name: f.default for f in fields(SamplingParams)}[name] for name in _NUMBERS)


def _check_number(name: str, value: Any) -> None:
    if value is None and name in OPTIONAL:
        return
    if name in INTEGERS:
        check_int(name, value, *INTEGERS[name])
    else:
        check_range(name, value, *RANGES[name], low_open=name in LOW_OPEN)


def check_range(name: str, value: Any, low: float, high: float, *, low_open: bool = False) -> None:
    """Raise InvalidParameter unless value is a finite number in [low, high] (or (low, high])."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidParameter(f"{name} must be a number, not {value!r}", param=name)
    inside = (value > low if low_open else value >= low) and value <= high
    if not math.isfinite(value) or not inside:
        bracket = "(" if low_open else "["
        raise InvalidParameter(
            f"{name} is {value}; it must be in {bracket}{low}, {high}]", param=name
        )


def check_int(name: str, value: Any, low: int, high: int) -> None:
    """Raise InvalidParameter unless value is an integer in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParameter(f"{name} must be an integer, not {value!r}", param=name)
    if not low <= value <= high:
        raise InvalidParameter(f"{name} is {value}; it must be in [{low}, {high}]", param=name)
