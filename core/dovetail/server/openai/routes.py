"""The endpoints of this dialect."""

from __future__ import annotations

from dovetail.server.endpoint import Endpoint

from . import schema
from .chat import chat
from .completions import completions
from .models import list_models, show_model
from .responses import creating, keeping, objects
from .responses import schema as responses
from .responses.events import AnyEvent
from .tokenize import detokenize, tokenize

ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/chat/completions",
        handle=chat,
        summary="Answer a chat",
        body=schema.ChatRequest,
        tasks=("generate",),
    ),
    Endpoint(
        method="POST",
        path="/v1/completions",
        handle=completions,
        summary="Complete prompts",
        body=schema.CompletionRequest,
        tasks=("generate",),
    ),
    Endpoint(
        method="POST",
        path="/v1/responses",
        handle=creating.create_response,
        summary="Respond, going on from earlier responses",
        body=responses.ResponseRequest,
        answer=objects.Response,
        streamed=AnyEvent,
    ),
    Endpoint(
        method="GET",
        path="/v1/responses/{response_id}",
        handle=keeping.retrieve_response,
        summary="A response that was kept",
        answer=objects.Response,
        query={"stream": bool},
    ),
    Endpoint(
        method="DELETE",
        path="/v1/responses/{response_id}",
        handle=keeping.delete_response,
        summary="Forget a response",
        answer=objects.Deleted,
    ),
    Endpoint(
        method="POST",
        path="/v1/responses/{response_id}/cancel",
        handle=keeping.cancel_response,
        summary="End a response that is made in the background",
        answer=objects.Response,
    ),
    Endpoint(
        method="GET",
        path="/v1/responses/{response_id}/input_items",
        handle=keeping.list_input,
        summary="What a response answers",
        answer=objects.ItemList,
        query={"limit": int, "order": str, "after": str},
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
