"""What was asked of the engine, and what comes back: token ids only, no text."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from .sampling import SamplingParams


class FinishReason(StrEnum):
    """Why a sequence ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One sequence to generate; n completions are n requests with the same prompt.

    prompt      token ids, at least one
    max_tokens  tokens to generate at most, already cut to what the context leaves; 0 only scores the prompt
    stop_ids    ids that end the sequence: end-of-sequence ids (unless ignored) and stop_token_ids
    seed        key of the draws: never None here
    priority    lower goes first
    breakers    token ids of sampling.dry_sequence_breakers: whole breakers, and beginnings with what completes them
    owner       whose it is: owners take turns; empty where there is nobody to tell apart
    bad         token ids that sampling.bad_words are spelled by: the last of each does not come after the others
    salt        separates prefix caches: requests share cached blocks only where it is equal
    task        what is wanted of the prompt; embed and score take max_tokens 0
    types       for encoders: the segment of each token of the prompt, a byte each; empty for all 0
    """

    id: str
    prompt: list[int]
    sampling: SamplingParams
    max_tokens: int
    stop_ids: frozenset[int] = frozenset()
    seed: int = 0
    priority: int = 0
    salt: str = ""
    owner: str = ""
    breakers: list[list[int]] = field(default_factory=list)
    bad: list[list[int]] = field(default_factory=list)
    task: Literal["generate", "embed", "score"] = "generate"
    types: bytes = b""


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log-probability of one token and of the likeliest at its place, most likely first."""

    logprob: float
    top_ids: list[int] = field(default_factory=list)
    top_logprobs: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Output:
    """New tokens of one request, in order; the last one of a request carries `finish`.

    tokens           new ids, the one that ended the sequence included
    logprobs         one per token, if asked for
    prompt_logprobs  with the first output, if asked for: one per prompt token, None for the first token
    cached           prompt tokens taken from the prefix cache; in the first output, -1 in later ones
    waited_us        microseconds until a step took it up; with the first output, -1 in later ones
    stop_id          the id of stop_ids that ended it, if one did
    error            what went wrong, with FinishReason.ERROR
    refused          it was the request's fault
    vector           of a pooled request: float32, little-endian; not normalised
    """

    request_id: str
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] | None = None
    prompt_logprobs: list[TokenLogprobs | None] | None = None
    cached: int = -1
    finish: FinishReason | None = None
    stop_id: int | None = None
    error: str | None = None
    refused: bool = False
    vector: bytes = b""
    waited_us: int = -1
