"""What the routes share: the engine, the model in text, its names and the counters."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dovetail.engine.client import EngineClient
from dovetail.errors import UnknownModel
from dovetail.structured.check import GrammarCheck
from dovetail.text.model import TextModel
from dovetail.text.sentences import SentenceModel

from .facts import ModelFacts
from .kept import Kept
from .limits import MAX_BODY_BYTES
from .metrics import Metrics

LONG_CHARACTERS = (
    4_096  # about a millisecond of tokenizing; below it a hop to a thread is not worth it
)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model as this server serves it.

    grammars   says whether a grammar can be kept to, before a request is queued
    names      what requests may call it; answers use the name that was asked for, the first where none was
    responses  that clients may come back to
    facts      what the files of the model say about it
    sentences  how texts become its vectors or scores, None for a model that generates
    """

    engine: EngineClient
    text: TextModel
    names: tuple[str, ...]
    metrics: Metrics
    facts: ModelFacts = field(default_factory=ModelFacts)
    sentences: SentenceModel | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    responses: Kept[Any] = field(default_factory=Kept)
    created: int = field(default_factory=lambda: int(time.time()))
    grammars: GrammarCheck = field(init=False)

    def __post_init__(self) -> None:
        check = GrammarCheck(self.text.tokenizer.backend, self.text.vocab_size)
        object.__setattr__(self, "grammars", check)

    def name(self, asked: str | None) -> str:
        """The model's name for an answer; raises UnknownModel."""
        if asked is None or asked in self.names:
            return asked or self.names[0]
        raise UnknownModel(
            f"the model {asked[:200]!r} is not served here; served: {', '.join(self.names)}",
            param="model",
        )


async def off_loop(size: int, work: Callable[[], T]) -> T:
    """Do work on `size` characters: on a thread if that is much, so that other streams go on."""
    if size < LONG_CHARACTERS:
        return work()
    return await asyncio.to_thread(work)


def fresh_id(kind: str) -> str:
    """An id that no other answer has; x-request-id is the client's and may repeat."""
    return f"{kind}-{secrets.token_hex(16)}"
