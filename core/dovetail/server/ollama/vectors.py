"""POST /api/embed and /api/embeddings."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail.server.limits import read_json
from dovetail.server.pooling import Embedded, embed, sentences
from dovetail.server.served import Served
from dovetail.server.sse import encode

from .catalog import served_name
from .schema import EmbeddingsRequest, EmbedRequest

embed_decoder = msgspec.json.Decoder(EmbedRequest)
embeddings_decoder = msgspec.json.Decoder(EmbeddingsRequest)


async def embed_texts(request: Request) -> Response:
    """The vector of each text; longer ones are cut to what the model takes unless truncate is false."""
    served: Served = request.app.state.served
    asked = await read_json(request, embed_decoder, max_bytes=served.max_body_bytes, untyped=True)
    begun = time.perf_counter_ns()
    name = served_name(served, asked.model)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    cut = asked.truncate is not False
    found = await _embed(request, texts, truncate=cut, dimensions=asked.dimensions)
    fields = {
        "model": name,
        "embeddings": [vector.tolist() for vector in found.vectors],
        "total_duration": time.perf_counter_ns() - begun,
        "load_duration": 0,
        "prompt_eval_count": found.tokens,
    }
    return Response(encode(fields), media_type="application/json")


async def embed_prompt(request: Request) -> Response:
    """The vector of one text; none for none, as Ollama has it."""
    served: Served = request.app.state.served
    asked = await read_json(
        request, embeddings_decoder, max_bytes=served.max_body_bytes, untyped=True
    )
    served_name(served, asked.model)
    texts = [asked.prompt] if asked.prompt else []
    found = await _embed(request, texts, truncate=True, dimensions=None)
    vector = found.vectors[0].tolist() if found.vectors else []
    return Response(encode({"embedding": vector}), media_type="application/json")


async def _embed(
    request: Request, texts: Sequence[str], *, truncate: bool, dimensions: int | None
) -> Embedded:
    served: Served = request.app.state.served
    model = sentences(served)
    if not texts:
        return Embedded([], 0)
    return await embed(
        served,
        list(texts),
        receive=request.receive,
        size=request.state.size,
        prompt=model.prompt_named(None),
        truncate=-1 if truncate else None,
        dimensions=dimensions,
    )
