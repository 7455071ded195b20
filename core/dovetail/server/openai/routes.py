"""The endpoints of this dialect."""

from __future__ import annotations

from dovetail.server.endpoint import Endpoint

from . import objects, schema
from .chat import chat
from .completions import completions
from .models import list_models, show_model
from .responses import creating, keeping
from .responses import objects as made
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
        answer=objects.ChatCompletion,
        streamed=objects.ChatChunk,
    ),
    Endpoint(
        method="POST",
        path="/v1/completions",
        handle=completions,
        summary="Complete prompts",
        body=schema.CompletionRequest,
        tasks=("generate",),
        answer=objects.Completion,
        streamed=objects.Completion,
    ),
    Endpoint(
        method="POST",
        path="/v1/responses",
        handle=creating.create_response,
        summary="Respond, going on from earlier responses",
        body=responses.ResponseRequest,
        tasks=("generate",),
        answer=made.Response,
        streamed=AnyEvent,
    ),
    Endpoint(
        method="GET",
        path="/v1/responses/{response_id}",
        handle=keeping.retrieve_response,
        summary="A response that was kept",
        answer=made.Response,
        query={"stream": bool},
    ),
    Endpoint(
        method="DELETE",
        path="/v1/responses/{response_id}",
        handle=keeping.delete_response,
        summary="Forget a response",
        answer=made.Deleted,
    ),
    Endpoint(
        method="POST",
        path="/v1/responses/{response_id}/cancel",
        handle=keeping.cancel_response,
        summary="End a response that is made in the background",
        answer=made.Response,
    ),
    Endpoint(
        method="GET",
        path="/v1/responses/{response_id}/input_items",
        handle=keeping.list_input,
        summary="What a response answers",
        answer=made.ItemList,
        query={"limit": int, "order": str, "after": str},
    ),
    Endpoint(
        method="GET",
        path="/v1/models",
        handle=list_models,
        summary="The models served here",
        answer=objects.ModelList,
    ),
    Endpoint(
        method="GET",
        path="/v1/models/{model:path}",
        handle=show_model,
        summary="One of them",
        answer=objects.Model,
    ),
    Endpoint(
        method="POST",
        path="/tokenize",
        handle=tokenize,
        summary="Token ids of a text or a chat",
        body=schema.TokenizeRequest,
        answer=objects.Tokenized,
    ),
    Endpoint(
        method="POST",
        path="/detokenize",
        handle=detokenize,
        summary="Text of token ids",
        body=schema.DetokenizeRequest,
        answer=objects.Detokenized,
    ),
)
