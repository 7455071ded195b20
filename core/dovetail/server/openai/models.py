"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dovetail.server.anthropic.models import is_anthropic, model_entry, model_list
from dovetail.server.served import Served
from dovetail.server.sse import encode


async def list_models(request: Request) -> Response:
    """Every name the model is served under."""
    served: Served = request.app.state.served
    if is_anthropic(request):
        return Response(encode(model_list(served)), media_type="application/json")
    data = [_entry(served, name) for name in served.names]
    return Response(encode({"object": "list", "data": data}), media_type="application/json")


async def show_model(request: Request) -> Response:
    """One of them; 404 if it is none."""
    served: Served = request.app.state.served
    name = served.name(request.path_params["model"])
    entry = model_entry if is_anthropic(request) else _entry
    return Response(encode(entry(served, name)), media_type="application/json")


def _entry(served: Served, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": served.created,
        "owned_by": "dovetail",
        "root": served.text.name,
        "parent": None,
        "max_model_len": served.text.max_model_len,
    }
