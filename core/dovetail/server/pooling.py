"""Vectors and scores for one HTTP request: its inputs run beside everybody else's, a window of them at a time.

`embed` and `score` are what every dialect calls; `embeddings.py` and `rerank.py` are the routes in OpenAI's, Cohere's,
Jina's and vLLM's forms.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.types import Receive

from dovetail.engine.client import Stream
from dovetail.errors import EngineError, EngineStopped, InvalidParameter, RequestError
from dovetail.request import FinishReason, Output, Request
from dovetail.text.sentences import Input, SentenceModel, cosine

from .access import CALLER
from .exchange import EXCHANGE
from .limits import check_count
from .served import Served, fresh_id, off_loop

F32 = NDArray[np.float32]
T = TypeVar("T")
MAX_INPUTS = 2048  # OpenAI's
WINDOW = 256
"""Inputs of one HTTP request that are in the engine at once."""


class ClientGone(RequestError):
    """The client has left; nobody reads the answer."""

    status = 499
    code = "client_closed_request"


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of inputs, in their order, and the tokens that they have."""

    vectors: list[F32]
    tokens: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of pairs, in their order, and the tokens of all."""

    scores: list[float]
    tokens: int


def sentences(served: Served) -> SentenceModel:
    """The model in text. Raises InvalidParameter for one that generates."""
    if served.sentences is None:
        raise InvalidParameter(
            f"{served.text.name} generates text and makes no vectors or scores; it answers /v1/chat/completions and "
            "/v1/completions",
            param="model",
        )
    return served.sentences


async def embed(
    served: Served,
    inputs: Sequence[Input],
    *,
    receive: Receive,
    size: int,
    prompt: str = "",
    truncate: int | None = None,
    special: bool = True,
    priority: int = 0,
    dimensions: int | None = None,
    normalize: bool | None = None,
    param: str = "input",
) -> Embedded:
    """The vector of each input.

    receive  the HTTP request's: the engine is told when the client leaves
    size     bytes of the HTTP request: no work on it is larger

    Raises RequestError or EngineError.
    """
    model = sentences(served)
    if model.task != "embed":
        raise InvalidParameter(
            f"{model.name} scores pairs and makes no vectors; it answers /v1/rerank and /v1/score",
            param="model",
        )
    check_count(param, inputs, MAX_INPUTS)
    model.check_dimensions(dimensions)
    answer_id = fresh_id("embd")

    def requests() -> list[Request]:
        return [
            model.embed_request(
                given,
                request_id=f"{answer_id}-{index}",
                prompt=prompt,
                truncate=truncate,
                special=special,
                priority=priority,
                param=param if len(inputs) == 1 else f"{param}[{index}]",
            )
            for index, given in enumerate(inputs)
        ]

    asked = await off_loop(size, requests)
    vectors = await run(
        served, asked, receive, lambda output: model.vector(output, dimensions, normalize)
    )
    return Embedded(vectors, _count(served, asked))


async def score(
    served: Served,
    pairs: Sequence[tuple[str, str]],
    *,
    receive: Receive,
    size: int,
    truncate: int | None = None,
    priority: int = 0,
    param: str = "documents",
) -> Scored:
    """How well the second text of each pair answers the first: by the model's head, or the cosine of two vectors.

    Arguments as in `embed`. Raises RequestError or EngineError.
    """
    model = sentences(served)
    check_count(param, pairs, MAX_INPUTS)
    if model.task == "embed":
        return await _by_cosine(served, pairs, receive, size, truncate, priority, param)
    answer_id = fresh_id("score")

    def requests() -> list[Request]:
        return [
            model.pair_request(
                query,
                document,
                request_id=f"{answer_id}-{index}",
                truncate=truncate,
                priority=priority,
                param=f"{param}[{index}]",
            )
            for index, (query, document) in enumerate(pairs)
        ]

    asked = await off_loop(size, requests)
    return Scored(await run(served, asked, receive, model.score), _count(served, asked))


async def _by_cosine(
    served: Served,
    pairs: Sequence[tuple[str, str]],
    receive: Receive,
    size: int,
    truncate: int | None,
    priority: int,
    param: str,
) -> Scored:
    """Each different text once, queries and documents with the prompts that the model has for them."""
    model = sentences(served)
    texts = dict.fromkeys(("query", query) for query, _ in pairs)
    texts |= dict.fromkeys(("document", document) for _, document in pairs)
    answer_id = fresh_id("score")

    def requests() -> list[Request]:
        return [
            model.embed_request(
                text,
                request_id=f"{answer_id}-{index}",
                prompt=model.prompt_for(kind),
                truncate=truncate,
                priority=priority,
                param="query" if kind == "query" else param,
            )
            for index, (kind, text) in enumerate(texts)
        ]

    asked = await off_loop(size, requests)
    vectors = dict(zip(texts, await run(served, asked, receive, model.vector), strict=True))
    scores = [cosine(vectors["query", q], vectors["document", d]) for q, d in pairs]
    return Scored(scores, _count(served, asked))


def _count(served: Served, requests: Sequence[Request]) -> int:
    """Tokens of all inputs, added to the metrics."""
    tokens = sum(len(request.prompt) for request in requests)
    served.metrics.prompt_tokens += tokens
    EXCHANGE.get().prompt_tokens += tokens
    return tokens


async def run(
    served: Served, requests: Sequence[Request], receive: Receive, take: Callable[[Output], T]
) -> list[T]:
    """What `take` makes of each request's output, in order. All are cancelled if one fails or the client leaves."""
    caller, tokens = CALLER.get(), sum(len(request.prompt) for request in requests)
    allowance = caller.allowance
    if caller.turn:
        requests = [replace(request, owner=caller.turn) for request in requests]
    reserved = allowance.reserve(tokens) if allowance is not None else 0
    work = asyncio.create_task(_run(served, requests, take))
    watch = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientGone("the client left before its answer was complete")
        return work.result()
    finally:
        watch.cancel()
        work.cancel()
        if allowance is not None:
            allowance.settle(reserved, tokens)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _run(served: Served, requests: Sequence[Request], take: Callable[[Output], T]) -> list[T]:
    """A window of requests in the engine, the oldest awaited first."""
    taken: list[T] = []
    streams: deque[Stream] = deque()
    waiting = iter(requests)
    try:
        while len(taken) < len(requests):
            while len(streams) < WINDOW and (request := next(waiting, None)) is not None:
                streams.append(await served.engine.submit(request))
            timing = served.metrics.timing()
            output = await anext(aiter(streams[0]))
            streams.popleft()
            if output.finish is not None:
                timing.finished(output.finish)
            taken.append(take(_good(output)))
    finally:
        for stream in streams:
            stream.cancel()
    return taken


def _good(output: Output) -> Output:
    if output.finish is FinishReason.CANCELLED:
        raise EngineStopped("the engine was stopped before the answer was complete; try again")
    if output.finish is FinishReason.ERROR:
        raise EngineError(output.error or "the engine gave no result")
    return output
