"""The endpoints of this dialect."""

from __future__ import annotations

from dovetail.server.endpoint import Endpoint

from . import schema
from .chat import chat
from .completions import completions
from .models import list_models, show_model
from .tokenize import detokenize, tokenize

ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/chat/completions",
        handle=chat,
        summary="Answer a chat",
        body=schema.ChatRequest,
    ),
    Endpoint(
        method="POST",
        path="/v1/completions",
        handle=completions,
        summary="Complete prompts",
        body=schema.CompletionRequest,
    ),
    Endpoint(method="GET", path="/v1/models", handle=list_models, summary="The models served here"),
    Endpoint(
        method="GET", path="/v1/models/{model:path}", handle=show_model, summary="One of them"
    ),
    Endpoint(
        method="POST",
        path="/tokenize",
        handle=tokenize,
        summary="Token ids of a text or a chat",
        body=schema.TokenizeRequest,
    ),
    Endpoint(
        method="POST",
        path="/detokenize",
        handle=detokenize,
        summary="Text of token ids",
        body=schema.DetokenizeRequest,
    ),
)
