"""What only an administrator may do. These routes exist where there is an admin key, and take no other."""

from __future__ import annotations

import logging
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .endpoint import Endpoint
from .limits import read_json
from .served import Served
from .sse import encode

LOGGER = logging.getLogger("dovetail")
Level = Literal["debug", "info", "warning", "error"]


class LogLevel(msgspec.Struct):
    """What is logged by the server process, and what is graver."""

    level: Level


class Forgotten(msgspec.Struct):
    """How many responses were kept and are no more."""

    count: int


decoder = msgspec.json.Decoder(LogLevel)


async def show_log_level(request: Request) -> Response:
    """As it is."""
    level = logging.getLevelName(LOGGER.getEffectiveLevel()).lower()
    return Response(encode({"level": level}), media_type="application/json")


async def set_log_level(request: Request) -> Response:
    """From now on."""
    served: Served = request.app.state.served
    asked = await read_json(request, decoder, max_bytes=served.max_body_bytes)
    LOGGER.setLevel(asked.level.upper())
    return Response(encode(asked), media_type="application/json")


async def forget_responses(request: Request) -> Response:
    """Drop everybody's kept responses; those in the making go on and are kept again when they end."""
    served: Served = request.app.state.served
    count = served.responses.clear()
    return Response(encode(Forgotten(count)), media_type="application/json")


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/admin/log-level",
        handle=show_log_level,
        summary="What is logged",
        answer=LogLevel,
        admin=True,
    ),
    Endpoint(
        method="PUT",
        path="/admin/log-level",
        handle=set_log_level,
        summary="Log more, or less",
        body=LogLevel,
        answer=LogLevel,
        admin=True,
    ),
    Endpoint(
        method="DELETE",
        path="/admin/responses",
        handle=forget_responses,
        summary="Forget all responses that are kept",
        answer=Forgotten,
        admin=True,
    ),
)
