"""Vectors and scores in this process: what LLM.embed and LLM.score do."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .engine.driven import Driven
from .errors import EngineError, InvalidParameter
from .request import FinishReason, Output, Request
from .text.sentences import Input, SentenceModel, cosine

F32 = NDArray[np.float32]
_numbers = itertools.count()


def embed(
    engine: Driven,
    model: SentenceModel,
    inputs: Input | Sequence[Input],
    *,
    prompt_name: str | None,
    dimensions: int | None,
    truncate: bool,
) -> F32:
    """Vectors [n, width] of texts or token ids, in order. Raises RequestError or EngineError."""
    if model.task != "embed":
        raise InvalidParameter(f"{model.name} scores pairs and makes no vectors; call LLM.score")
    model.check_dimensions(dimensions)
    given = _inputs(inputs)
    prompt = model.prompt_named(prompt_name) if prompt_name or _texts(given) else ""
    requests = [
        model.embed_request(
            each, request_id=_fresh(), prompt=prompt, truncate=-1 if truncate else None
        )
        for each in given
    ]
    vectors = [model.vector(output, dimensions) for output in run(engine, requests)]
    return np.stack(vectors) if vectors else np.zeros((0, dimensions or model.width), np.float32)


def score(
    engine: Driven,
    model: SentenceModel,
    query: str,
    documents: Sequence[str],
    *,
    truncate: bool,
) -> list[float]:
    """How well each document answers the query: by the model's head, or the cosine of two vectors."""
    most = -1 if truncate else None
    if model.task == "score":
        pairs = [
            model.pair_request(query, document, request_id=_fresh(), truncate=most)
            for document in documents
        ]
        return [model.score(output) for output in run(engine, pairs)]
    kinds = [("query", query), *(("document", document) for document in documents)]
    requests = [
        model.embed_request(text, request_id=_fresh(), prompt=model.prompt_for(kind), truncate=most)
        for kind, text in kinds
    ]
    first, *others = (model.vector(output) for output in run(engine, requests))
    return [cosine(first, other) for other in others]


def run(engine: Driven, requests: Sequence[Request]) -> list[Output]:
    """The output of each request, in order. Raises EngineError where one has none."""
    for request in requests:
        engine.submit(request)
    wanted = {request.id for request in requests}
    outputs: dict[str, Output] = {}
    try:
        while len(outputs) < len(wanted):
            outputs |= {o.request_id: o for o in engine.step() if o.request_id in wanted}
    finally:
        for request_id in wanted - set(outputs):
            engine.cancel(request_id)
    for output in outputs.values():
        if output.finish is FinishReason.ERROR:
            raise EngineError(output.error or "the engine gave no result")
    return [outputs[request.id] for request in requests]


def _fresh() -> str:
    return f"pooled-{next(_numbers)}"


def _inputs(inputs: Input | Sequence[Input]) -> Sequence[Input]:
    if isinstance(inputs, str) or (len(inputs) > 0 and isinstance(inputs[0], int)):
        return [inputs]  # type: ignore[list-item]
    return inputs  # type: ignore[return-value]


def _texts(inputs: Sequence[Input]) -> bool:
    return all(isinstance(each, str) for each in inputs)
