"""The endpoints of this dialect. Those that change what is there (create, copy, delete, pull, push, blobs) are not among them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dovetail.server import forms
from dovetail.server.endpoint import Endpoint

from . import objects, schema
from .catalog import alive, running, show, tags, version
from .options import SAME
from .talk import LINES, chat, generate
from .vectors import embed_prompt, embed_texts

WORDS = {
    **{name: f"options.{name}" for name in (*SAME, "stop", "seed", "repeat_last_n")},
    "max_tokens": "options.num_predict",
    "repetition_penalty": "options.repeat_penalty",
    "reasoning_effort": "think",
}
Handle = Callable[[Request], Awaitable[Response]]


def _endpoint(
    method: str,
    path: str,
    handle: Handle,
    summary: str,
    body: Any = None,
    answer: Any = None,
    *,
    streamed: bool = False,
) -> Endpoint:
    return Endpoint(
        method=method,
        path=path,
        handle=handle,
        summary=summary,
        body=body,
        answer=answer,
        streamed=answer if streamed else None,
        events=LINES.media_type,
        errors=forms.plain,
        words=WORDS,
    )


ENDPOINTS = (
    _endpoint(
        "POST",
        "/api/chat",
        chat,
        "Answer a chat, as Ollama does",
        schema.ChatRequest,
        objects.ChatAnswer,
        streamed=True,
    ),
    _endpoint(
        "POST",
        "/api/generate",
        generate,
        "Answer or complete a prompt",
        schema.GenerateRequest,
        objects.GenerateAnswer,
        streamed=True,
    ),
    _endpoint(
        "POST",
        "/api/embed",
        embed_texts,
        "Vectors of texts",
        schema.EmbedRequest,
        objects.Embedded,
    ),
    _endpoint(
        "POST",
        "/api/embeddings",
        embed_prompt,
        "The vector of a text",
        schema.EmbeddingsRequest,
        objects.Embedding,
    ),
    _endpoint("GET", "/api/tags", tags, "The models served here", answer=objects.Tags),
    _endpoint("GET", "/api/ps", running, "The models that are loaded", answer=objects.Running),
    _endpoint(
        "POST",
        "/api/show",
        show,
        "What is known of a model",
        schema.ShowRequest,
        objects.Shown,
    ),
    _endpoint(
        "GET",
        "/api/version",
        version,
        "The version of Ollama whose API this is",
        answer=objects.Version,
    ),
    _endpoint("GET", "/", alive, "Whether a server is here"),
)
