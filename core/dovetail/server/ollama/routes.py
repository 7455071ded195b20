"""The endpoints of this dialect. Those that change what is there (create, copy, delete, pull, push, blobs) are not among them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dovetail.server import forms
from dovetail.server.endpoint import Endpoint

from . import schema
from .catalog import alive, running, show, tags, version
from .talk import chat, generate
from .vectors import embed_prompt, embed_texts

Handle = Callable[[Request], Awaitable[Response]]


def _endpoint(method: str, path: str, handle: Handle, summary: str, body: Any = None) -> Endpoint:
    return Endpoint(
        method=method, path=path, handle=handle, summary=summary, body=body, errors=forms.plain
    )


ENDPOINTS = (
    _endpoint("POST", "/api/chat", chat, "Answer a chat, as Ollama does", schema.ChatRequest),
    _endpoint(
        "POST", "/api/generate", generate, "Answer or complete a prompt", schema.GenerateRequest
    ),
    _endpoint("POST", "/api/embed", embed_texts, "Vectors of texts", schema.EmbedRequest),
    _endpoint(
        "POST", "/api/embeddings", embed_prompt, "The vector of a text", schema.EmbeddingsRequest
    ),
    _endpoint("GET", "/api/tags", tags, "The models served here"),
    _endpoint("GET", "/api/ps", running, "The models that are loaded"),
    _endpoint("POST", "/api/show", show, "What is known of a model", schema.ShowRequest),
    _endpoint("GET", "/api/version", version, "The version of Ollama whose API this is"),
    _endpoint("GET", "/", alive, "Whether a server is here"),
)
