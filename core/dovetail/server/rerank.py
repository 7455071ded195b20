"""POST /v1/rerank, /rerank and /v2/rerank in Jina's and Cohere's form, /v1/score and /score in vLLM's.

A cross-encoder answers with its head's number, a model that embeds with the cosine of two vectors.
"""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.sampling import check_int

from .embeddings import MAX_PRIORITY
from .endpoint import Endpoint
from .limits import check_count, read_json
from .pooling import MAX_INPUTS, Scored, score
from .served import Served, fresh_id
from .sse import encode


class Text(msgspec.Struct):
    """A document that is an object."""

    text: str


class RerankRequest(msgspec.Struct, kw_only=True):
    """POST /v1/rerank.

    top_n                   results to answer with, the best; all if absent
    return_documents        whether results repeat their document; /v2/rerank does not unless asked to
    truncate_prompt_tokens  tokens to keep of query and document together; -1 for what the model takes
    """

    query: str
    documents: list[str | Text]
    model: str | None = None
    top_n: int | None = None
    return_documents: bool | None = None
    truncate_prompt_tokens: int | None = None
    priority: int = 0
    user: str | None = None
    max_tokens_per_doc: Any = None
    max_chunks_per_doc: Any = None
    rank_fields: Any = None


class RerankResult(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One document: its place in the request, and how well it answers."""

    index: int
    relevance_score: float
    document: Text | None = None


class Usage(msgspec.Struct):
    """Tokens of all pairs."""

    prompt_tokens: int
    total_tokens: int


class RerankAnswer(msgspec.Struct, kw_only=True):
    """The best documents, best first."""

    id: str
    model: str
    results: list[RerankResult]
    usage: Usage


class ScoreRequest(msgspec.Struct, kw_only=True):
    """POST /v1/score: text_1 and text_2, or queries and documents; one of the first side goes with each of the second.

    truncate_prompt_tokens  as in RerankRequest
    """

    text_1: str | list[str] | None = None
    text_2: str | list[str] | None = None
    queries: str | list[str] | None = None
    documents: str | list[str] | None = None
    model: str | None = None
    truncate_prompt_tokens: int | None = None
    priority: int = 0
    user: str | None = None


class ScoreResult(msgspec.Struct, kw_only=True):
    """One pair."""

    index: int
    score: float
    object: Literal["score"] = "score"


class ScoreAnswer(msgspec.Struct, kw_only=True):
    """Scores in the order of the pairs."""

    id: str
    created: int
    model: str
    data: list[ScoreResult]
    usage: Usage
    object: Literal["list"] = "list"


rerank_decoder = msgspec.json.Decoder(RerankRequest)
score_decoder = msgspec.json.Decoder(ScoreRequest)
REFUSED = ("max_tokens_per_doc", "max_chunks_per_doc", "rank_fields")


async def rerank(request: Request) -> Response:
    """Documents by how well they answer a query."""
    served: Served = request.app.state.served
    asked = await read_json(request, rerank_decoder, max_bytes=served.max_body_bytes)
    name = served.name(asked.model)
    for field in REFUSED:
        if getattr(asked, field) is not None:
            raise UnsupportedParameter(f"{field} is not supported; leave it out", param=field)
    texts = [given if isinstance(given, str) else given.text for given in asked.documents]
    if not texts:
        raise InvalidParameter("documents is an empty list", param="documents")
    check_count("documents", texts, MAX_INPUTS)
    if asked.top_n is not None:
        check_int("top_n", asked.top_n, 1, 2**31 - 1)
    check_int("priority", asked.priority, -MAX_PRIORITY, MAX_PRIORITY)
    scored = await score(
        served,
        [(asked.query, text) for text in texts],
        receive=request.receive,
        size=request.state.size + len(asked.query) * len(texts),
        truncate=asked.truncate_prompt_tokens,
        priority=asked.priority,
    )
    repeated = asked.return_documents
    if repeated is None:
        repeated = not request.url.path.startswith("/v2/")
    answer = RerankAnswer(
        id=fresh_id("rerank"),
        model=name,
        results=ranked(scored, texts, asked.top_n, repeated),
        usage=Usage(scored.tokens, scored.tokens),
    )
    return Response(encode(answer), media_type="application/json")


def ranked(
    scored: Scored, texts: list[str], top_n: int | None, repeated: bool
) -> list[RerankResult]:
    """The best first; of equals the earlier one."""
    order = sorted(range(len(texts)), key=lambda index: -scored.scores[index])[:top_n]
    return [
        RerankResult(
            index=index,
            relevance_score=scored.scores[index],
            document=Text(texts[index]) if repeated else None,
        )
        for index in order
    ]


async def score_pairs(request: Request) -> Response:
    """The score of each pair of texts."""
    served: Served = request.app.state.served
    asked = await read_json(request, score_decoder, max_bytes=served.max_body_bytes)
    name = served.name(asked.model)
    check_int("priority", asked.priority, -MAX_PRIORITY, MAX_PRIORITY)
    pairs, param = pairs_of(asked)
    scored = await score(
        served,
        pairs,
        receive=request.receive,
        size=request.state.size + sum(len(first) for first, _ in pairs),
        truncate=asked.truncate_prompt_tokens,
        priority=asked.priority,
        param=param,
    )
    answer = ScoreAnswer(
        id=fresh_id("score"),
        created=int(time.time()),
        model=name,
        data=[ScoreResult(index=i, score=number) for i, number in enumerate(scored.scores)],
        usage=Usage(scored.tokens, scored.tokens),
    )
    return Response(encode(answer), media_type="application/json")


def pairs_of(asked: ScoreRequest) -> tuple[list[tuple[str, str]], str]:
    """The pairs, and the name of the second side's field. Raises InvalidParameter."""
    old = asked.text_1 is not None or asked.text_2 is not None
    names = ("text_1", "text_2") if old else ("queries", "documents")
    if old and (asked.queries is not None or asked.documents is not None):
        raise InvalidParameter(
            "give text_1 and text_2, or queries and documents, not both", param="queries"
        )
    sides: list[list[str]] = []
    for name in names:
        given = getattr(asked, name)
        if given is None or given == []:
            raise InvalidParameter(f"{name} is missing or empty", param=name)
        check_count(name, [given] if isinstance(given, str) else given, MAX_INPUTS)
        sides.append([given] if isinstance(given, str) else given)
    first, second = sides
    if len(first) == 1:
        first = first * len(second)
    if len(first) != len(second):
        raise InvalidParameter(
            f"{names[0]} has {len(first)} texts and {names[1]} {len(second)}; give one and many, or as many of both",
            param=names[1],
        )
    return list(zip(first, second, strict=True)), names[1]


BOTH = ("score", "embed")
ENDPOINTS = (
    *(
        Endpoint(
            method="POST",
            path=path,
            handle=rerank,
            summary="Documents by how well they answer a query",
            body=RerankRequest,
            answer=RerankAnswer,
            tasks=BOTH,
        )
        for path in ("/v1/rerank", "/v2/rerank", "/rerank")
    ),
    *(
        Endpoint(
            method="POST",
            path=path,
            handle=score_pairs,
            summary="Scores of pairs of texts",
            body=ScoreRequest,
            answer=ScoreAnswer,
            tasks=BOTH,
        )
        for path in ("/v1/score", "/score")
    ),
)
