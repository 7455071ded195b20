"""Errors as HTTP answers: one table of statuses and one body, OpenAI's.

{"error": {"message": ..., "type": ..., "param": ..., "code": ...}}
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dovetail.errors import EngineError, EngineStopped, Overloaded, RequestError
from dovetail.logs import named

log = logging.getLogger("dovetail.server")

# status -> (type, code where the error has none)
KINDS: Mapping[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "forbidden"),
    404: ("invalid_request_error", "unknown_url"),
    405: ("invalid_request_error", "method_not_allowed"),
    408: ("invalid_request_error", "request_timeout"),
    413: ("invalid_request_error", "request_too_large"),
    415: ("invalid_request_error", "unsupported_media_type"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    500: ("server_error", "internal_error"),
    503: ("server_error", "service_unavailable"),
    504: ("server_error", "request_timeout"),
}
CODES = {RequestError.code: None}  # what is no more than the type says


class NotAuthorized(RequestError):
    """The API key is missing or wrong."""

    status = 401
    code = "invalid_api_key"


class WrongHost(RequestError):
    """The request was meant for another site, or comes from one."""

    status = 403
    code = "forbidden"


class BodyTooLarge(RequestError):
    """The body has more bytes than are read."""

    status = 413
    code = "request_too_large"


class BodyTooSlow(RequestError):
    """The body did not arrive in time."""

    status = 408
    code = "request_timeout"


class WrongMediaType(RequestError):
    """The body is not declared as JSON."""

    status = 415
    code = "unsupported_media_type"


class Draining(EngineStopped):
    """The server is about to stop."""


def status_of(error: Exception) -> int:
    """The HTTP status that says what happened."""
    if isinstance(error, RequestError | EngineError):
        return error.status
    return error.status_code if isinstance(error, HTTPException) else 500


def body_of(error: Exception) -> bytes:
    """The JSON body; what is not ours is described in general terms only."""
    status = status_of(error)
    kind, code = KINDS.get(status, KINDS[400 if status < 500 else 500])
    param = None
    if isinstance(error, RequestError):
        param, code = error.param, CODES.get(error.code, error.code)
    message = str(error) if isinstance(error, RequestError | EngineError) else None
    if isinstance(error, HTTPException):
        message = error.detail
    fields = {"message": message or "internal error", "type": kind, "param": param, "code": code}
    return msgspec.json.encode({"error": fields})


def headers_of(error: Exception) -> dict[str, str]:
    """Headers that go with the status."""
    status = status_of(error)
    headers = {"content-type": "application/json"}
    if isinstance(error, HTTPException) and error.headers:
        headers |= error.headers
    if status in (429, 503):
        wait_s = error.retry_after_s if isinstance(error, Overloaded) else 1.0
        headers["retry-after"] = str(max(1, math.ceil(wait_s)))
    if (
        status == 504
    ):  # OpenAI's and Anthropic's clients would ask again, for what is wanted no more
        headers["x-should-retry"] = "false"
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not read
    return headers


Answer = Callable[[Exception], Response]


def answer(error: Exception) -> Response:
    """The response for an error."""
    return Response(body_of(error), status_of(error), headers_of(error))


async def on_error(request: Request, error: Exception) -> Response:
    """Starlette's handler of deliberate errors."""
    if isinstance(error, HTTPException) and error.status_code in (404, 405):
        detail = f"there is no {request.method} {request.url.path} here"
        error = HTTPException(error.status_code, detail, error.headers)
    return _form_of(request)(error)


async def on_bug(request: Request, error: Exception) -> Response:
    """Starlette's handler of everything else; uvicorn logs the traceback."""
    log.error("path=%r error=%s", request.url.path[:200], named(error))
    return _form_of(request)(error)


def _form_of(request: Request) -> Answer:
    """How errors are answered where the request went."""
    form: Answer = request.app.state.gate.form(request.scope["path"])
    return form
