"""The replies of one request, as they are merged and counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from dovetail.request import FinishReason, Output
from dovetail.sampling import SamplingParams
from dovetail.server.generation import MAX_UNREAD, Generation
from dovetail.server.metrics import Metrics
from dovetail.server.served import Served
from dovetail.text.model import TextModel
from dovetail.text.tokenizer import Tokenizer
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers

WORDS = ["<s>", "▁", "▁once", "▁upon", "▁a", "▁time"]


class Scripted:
    """An engine that says the same to every request; `taken` outputs have been asked for."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self.taken = 0

    async def submit(self, request: Any) -> Any:
        return self

    def cancel(self) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Output]:
        for i, word in enumerate(self._words):
            self.taken += 1
            last = FinishReason.LENGTH if i == len(self._words) - 1 else None
            yield Output("r", [WORDS.index(word)], cached=0 if i == 0 else -1, finish=last)


def serve(engine: Scripted) -> Served:
    """A model with a vocabulary as SentencePiece makes them."""
    backend = Backend(models.BPE(vocab={w: i for i, w in enumerate(WORDS)}, merges=[]))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<s>"])
    text = TextModel(
        name="words",
        tokenizer=Tokenizer(backend),
        template=None,
        eos_ids=frozenset(),
        max_model_len=10_000,
        vocab_size=len(WORDS),
    )
    metrics = Metrics("words", SimpleNamespace(num_blocks=1))  # type: ignore[arg-type]
    return Served(engine=engine, text=text, names=("words",), metrics=metrics)  # type: ignore[arg-type]


async def start(served: Served, **options: Any) -> Generation:
    params = SamplingParams(max_tokens=None, n=options.pop("n", 1))
    return await Generation.start(served, [[0, 2, 3, 4]], params, request_id="r", **options)


def text_of(**options: Any) -> str:
    async def run() -> str:
        generation = await start(serve(Scripted(["▁time", "▁once"])), **options)
        assert await generation.collect()
        return "".join(part.text for part in generation.choices[0].parts)

    return asyncio.run(run())


def test_a_completion_begins_with_its_space() -> None:
    assert text_of(continues=True) == " time once"


def test_an_answer_in_a_chat_begins_with_its_word() -> None:
    assert text_of() == "time once"


@pytest.mark.defends(
    "a client leaves",
    "what a client has not read of several replies is bounded",
    without=("dovetail.server.generation", "asyncio.Queue(MAX_UNREAD)", "asyncio.Queue()"),
)
def test_what_is_not_read_is_not_taken() -> None:
    async def run() -> int:
        engine = Scripted(["▁time"] * 1000)
        generation = await start(serve(engine), n=2)
        events = generation.events()
        await anext(events)
        for _ in range(5000):  # everybody else may go on as far as they can
            await asyncio.sleep(0)
        taken = engine.taken
        rest = [event async for event in events]
        assert len(rest) == 1999
        return taken

    assert asyncio.run(run()) <= MAX_UNREAD + 4
