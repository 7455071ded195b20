"""GET /v1/models as Anthropic answers it: to whoever sends the header anthropic-version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from dovetail.server.served import Served


def is_anthropic(request: Request) -> bool:
    """Whether one of Anthropic's clients asks."""
    return "anthropic-version" in request.headers


def model_list(served: Served) -> dict[str, Any]:
    """Every name the model is served under, in one page."""
    data = [model_entry(served, name) for name in served.names]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]}
    return {"data": data, "has_more": False, **ends}


def model_entry(served: Served, name: str) -> dict[str, Any]:
    """One of them."""
    created = datetime.fromtimestamp(served.created, UTC).isoformat().replace("+00:00", "Z")
    longest = served.text.max_model_len
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": created,
        "lifecycle": "active",
        "max_input_tokens": longest,
        "max_tokens": longest,
    }
