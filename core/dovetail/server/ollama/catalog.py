"""What is served, as Ollama lists it: /api/tags, /api/show, /api/ps and /api/version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from dovetail.server.limits import read_json
from dovetail.server.served import Served
from dovetail.server.sse import encode
from dovetail.text.effort import thinks

from .schema import ShowRequest

LATEST = ":latest"
VERSION = "0.13.0"  # of Ollama, whose API this is: clients compare it
NEVER = "9999-12-31T23:59:59Z"
show_decoder = msgspec.json.Decoder(ShowRequest)


def served_name(served: Served, asked: str | None) -> str:
    """The name to answer with: as it was asked for. ":latest" may be left out or added. Raises UnknownModel."""
    if asked is None or asked in served.names:
        return served.name(asked)
    served.name(asked.removesuffix(LATEST))
    return asked


def tagged(name: str) -> str:
    """A name as Ollama lists it."""
    return name if ":" in name.rpartition("/")[2] else name + LATEST


async def alive(request: Request) -> Response:
    """What Ollama's own command line looks for."""
    return PlainTextResponse("Ollama is running")


async def version(request: Request) -> Response:
    """The version of the API."""
    return _json({"version": VERSION})


async def tags(request: Request) -> Response:
    """Every name the model is served under."""
    served: Served = request.app.state.served
    return _json({"models": [_entry(served, name) for name in served.names]})


async def running(request: Request) -> Response:
    """The same: what is served is loaded, and stays."""
    served: Served = request.app.state.served
    loaded = {"expires_at": NEVER, "size_vram": 0, "context_length": served.text.max_model_len}
    return _json({"models": [_entry(served, name) | loaded for name in served.names]})


async def show(request: Request) -> Response:
    """What is known of a model."""
    served: Served = request.app.state.served
    asked = await read_json(request, show_decoder, max_bytes=served.max_body_bytes, untyped=True)
    name = asked.model or asked.name or None
    served_name(served, name)
    facts, text = served.facts, served.text
    return _json(
        {
            "modelfile": f"FROM {text.name}\n",
            "parameters": "\n".join(f"{k:<30} {v}" for k, v in text.defaults.items()),
            "template": text.template.source if text.template is not None else "",
            "license": "",
            "details": _details(served),
            "model_info": _info(served),
            "capabilities": capabilities(served),
            "modified_at": _time(facts.modified),
        }
    )


def capabilities(served: Served) -> list[str]:
    """What the model can be asked for."""
    text = served.text
    able = {
        "completion": served.sentences is None,
        "embedding": served.sentences is not None,
        "tools": text.speech is not None and text.speech.takes_tools,
        "thinking": thinks(text),
    }
    return [name for name, yes in able.items() if yes]


def _entry(served: Served, name: str) -> dict[str, Any]:
    facts = served.facts
    return {
        "name": tagged(name),
        "model": tagged(name),
        "modified_at": _time(facts.modified),
        "size": facts.size_bytes,
        "digest": facts.digest,
        "details": _details(served),
    }


def _details(served: Served) -> dict[str, Any]:
    family = served.facts.family
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": served.engine.info.weights,
    }


def _info(served: Served) -> dict[str, Any]:
    family = served.facts.family
    fields = {f"{family}.{key}": value for key, value in served.facts.config.items()}
    context = {f"{family}.context_length": served.text.max_model_len}
    return {"general.architecture": family, **fields, **context}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _json(fields: dict[str, Any]) -> Response:
    return Response(encode(fields), media_type="application/json")
