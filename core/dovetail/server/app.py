"""The application: routes, and the errors that become answers."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dovetail import __version__
from dovetail.errors import DovetailError, EngineStopped

from .chat import chat
from .completions import completions
from .errors import answer, on_bug, on_error
from .gate import Gate
from .metrics import CONTENT_TYPE
from .models import list_models, show_model
from .served import Served
from .tokenize import detokenize, tokenize


def create_app(served: Served, *, api_keys: Iterable[str] = (), hosts: Iterable[str] = ()) -> Gate:
    """The ASGI application; its `draining` closes the door. Keys and hosts as in Gate."""
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/models", list_models, methods=["GET"]),
            Route("/v1/models/{model:path}", show_model, methods=["GET"]),
            Route("/tokenize", tokenize, methods=["POST"]),
            Route("/detokenize", detokenize, methods=["POST"]),
            Route("/health", health, methods=["GET"]),
            Route("/ready", ready, methods=["GET"]),
            Route("/version", version, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
        ],
        exception_handlers={
            DovetailError: on_error,
            HTTPException: on_error,
            Exception: on_bug,
        },
    )
    app.router.redirect_slashes = False
    app.state.served = served
    gate = app.state.gate = Gate(app, api_keys=api_keys, hosts=hosts)
    return gate


async def health(request: Request) -> Response:
    """200 while the engine lives."""
    served: Served = request.app.state.served
    if not served.engine.healthy():
        return answer(EngineStopped("the engine is not running"))
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """200 while new requests are taken."""
    gate: Gate = request.app.state.gate
    if gate.draining:
        return answer(EngineStopped("the server is stopping"))
    return await health(request)


async def version(request: Request) -> Response:
    """The version of this server."""
    return JSONResponse({"version": __version__})


async def metrics(request: Request) -> Response:
    """For Prometheus."""
    served: Served = request.app.state.served
    stats = await served.engine.stats()
    return Response(served.metrics.exposition(stats), media_type=CONTENT_TYPE)
