"""The application: routes, and the errors that become answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dovetail import __version__
from dovetail.engine.client import EngineStats
from dovetail.errors import DovetailError, EngineStopped

from .access import Access
from .admin import ENDPOINTS as ADMIN
from .anthropic.routes import ENDPOINTS as ANTHROPIC
from .embeddings import ENDPOINTS as EMBEDDINGS
from .endpoint import Endpoint
from .errors import answer, on_bug, on_error
from .gate import Gate
from .journal import Ended, Journal
from .kserve import ENDPOINTS as KSERVE
from .llama.routes import ENDPOINTS as LLAMA
from .metrics import CONTENT_TYPE
from .ollama.routes import ENDPOINTS as OLLAMA
from .openai.routes import ENDPOINTS as OPENAI
from .openapi import ENDPOINT as DESCRIPTION
from .rerank import ENDPOINTS as RERANK
from .served import Served
from .tgi.routes import ENDPOINTS as TGI


def create_app(
    served: Served,
    *,
    access: Access | None = None,
    hosts: Iterable[str] = (),
    origins: Sequence[str] = (),
    request_timeout_s: float = 0.0,
    ended: Ended | None = None,
) -> Gate:
    """The ASGI application; its `draining` closes the door.

    Access, hosts, origins and the time limit as in Gate, ended as in Journal.

    Routes for administrators are there only if there is an admin key.
    """
    access = access or Access()
    endpoints = (*ENDPOINTS, *(ADMIN if access.admin else ()))
    app = Starlette(
        routes=[endpoint.route() for endpoint in endpoints],
        exception_handlers={
            DovetailError: on_error,
            HTTPException: on_error,
            Exception: on_bug,
        },
    )
    app.router.redirect_slashes = False
    app.state.served, app.state.endpoints = served, endpoints
    gate = app.state.gate = Gate(
        app,
        endpoints=endpoints,
        access=access,
        journal=Journal(served.metrics.traffic, ended),
        hosts=hosts,
        origins=origins,
        request_timeout_s=request_timeout_s,
        closed=served.engine.closed,
    )
    return gate


async def health(request: Request) -> Response:
    """200 while the engine lives."""
    served: Served = request.app.state.served
    if not served.engine.healthy():
        return answer(EngineStopped("the engine is not running, or is being started again"))
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
    try:
        stats = await served.engine.stats()
    except EngineStopped:
        stats = EngineStats()
    return Response(
        served.metrics.exposition(stats, served.engine.healthy()), media_type=CONTENT_TYPE
    )


class Status(msgspec.Struct):
    """The engine lives."""

    status: Literal["ok"]


class Version(msgspec.Struct):
    """Of this server."""

    version: str


ENDPOINTS: tuple[Endpoint, ...] = (
    DESCRIPTION,
    *OPENAI,
    *ANTHROPIC,
    *OLLAMA,
    *TGI,
    *KSERVE,
    *LLAMA,
    *EMBEDDINGS,
    *RERANK,
    Endpoint(
        method="GET",
        path="/health",
        handle=health,
        summary="Whether the engine lives",
        answer=Status,
        open=True,
    ),
    Endpoint(
        method="GET",
        path="/ready",
        handle=ready,
        summary="Whether new requests are taken",
        answer=Status,
    ),
    Endpoint(
        method="GET",
        path="/version",
        handle=version,
        summary="The version of this server",
        answer=Version,
    ),
    Endpoint(method="GET", path="/metrics", handle=metrics, summary="Metrics for Prometheus"),
)
