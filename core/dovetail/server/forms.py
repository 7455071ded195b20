"""How the dialects say that something went wrong: the same errors and headers, in other words.

Statuses are OpenAI's (errors.py) but where a dialect's clients tell errors apart by others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dovetail.errors import EngineError, Overloaded, RequestError

from .errors import headers_of, status_of

encode = msgspec.json.encode

ANTHROPIC_KINDS: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def message_of(error: Exception) -> str:
    """What a client may read; nothing of what is not ours."""
    if isinstance(error, RequestError | EngineError):
        return str(error)
    return error.detail if isinstance(error, HTTPException) else "internal error"


def _response(error: Exception, fields: Mapping[str, Any], status: int | None = None) -> Response:
    return Response(encode(fields), status or status_of(error), headers_of(error))


def anthropic_fields(error: Exception) -> dict[str, Any]:
    """{"type": "error", "error": {"type", "message"}}."""
    status = status_of(error)
    general = "invalid_request_error" if status < 500 else "api_error"
    kind = ANTHROPIC_KINDS.get(status, general)
    return {"type": "error", "error": {"type": kind, "message": message_of(error)}}


def anthropic(error: Exception) -> Response:
    """Anthropic's."""
    return _response(error, anthropic_fields(error))


def plain_fields(error: Exception) -> dict[str, Any]:
    """{"error": message}."""
    return {"error": message_of(error)}


def plain(error: Exception) -> Response:
    """Ollama's and KServe's."""
    return _response(error, plain_fields(error))


def tgi_fields(error: Exception) -> dict[str, Any]:
    """{"error": message, "error_type": ...}."""
    if isinstance(error, Overloaded):
        kind = "overloaded"
    elif status_of(error) < 500:
        kind = "validation"
    else:
        kind = "generation"
    return {"error": message_of(error), "error_type": kind}


def tgi(error: Exception) -> Response:
    """TGI's, which answers 422 to what its validation refuses."""
    status = status_of(error)
    return _response(error, tgi_fields(error), 422 if status == 400 else status)


def llama_fields(error: Exception) -> dict[str, Any]:
    """{"error": {"code", "message", "type"}}."""
    status = status_of(error)
    kinds = {401: "authentication_error", 404: "not_found_error", 503: "unavailable_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"code": status, "message": message_of(error), "type": kind}}


def llama(error: Exception) -> Response:
    """llama-server's."""
    return _response(error, llama_fields(error))
