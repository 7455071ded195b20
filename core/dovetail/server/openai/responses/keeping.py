"""Responses that are kept: to retrieve, cancel, delete, and to go on from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dovetail.errors import InvalidParameter, RequestError, UnsupportedParameter
from dovetail.server.openai.asking import MAX_MESSAGES
from dovetail.server.served import Served
from dovetail.server.sse import encode

from . import items, objects

MAX_PAGE = 100


class UnknownResponse(RequestError):
    """There is no response of that id: never, not any more, or not for this key."""

    status = 404
    code = None


@dataclass(slots=True)
class Stored:
    """A response, and what it answers.

    task  what makes it, if it is made in the background
    """

    response: objects.Response
    input: list[dict[str, Any]]
    task: asyncio.Task[None] | None = None


def keep(served: Served, owner: str, stored: Stored) -> None:
    """Keep it as it is now."""
    size = len(encode(stored.response)) + len(encode(stored.input))
    served.responses.put(owner, stored.response.id, stored, size)


def stored_of(served: Served, owner: str, name: str, param: str | None = None) -> Stored:
    """Raises UnknownResponse."""
    stored: Stored | None = served.responses.get(owner, name)
    if stored is None:
        raise UnknownResponse(
            f"there is no response {name[:100]!r}; responses are kept in memory, for a while and in bounds",
            param=param,
        )
    return stored


def conversation_before(served: Served, owner: str, name: str | None) -> list[dict[str, Any]]:
    """Input and output of a response and of all that it goes on from, oldest first. Raises RequestError."""
    chain: list[Stored] = []
    count = 0
    while name is not None:
        stored = stored_of(served, owner, name, "previous_response_id")
        if stored.response.status not in ("completed", "incomplete"):
            raise InvalidParameter(
                f"the response {name} is {stored.response.status}; only a finished one can be gone on from",
                param="previous_response_id",
            )
        chain.append(stored)
        count += len(stored.input) + len(stored.response.output)
        if count > MAX_MESSAGES:
            raise InvalidParameter(
                f"the conversation has more than {MAX_MESSAGES} items; start a new one",
                param="previous_response_id",
            )
        name = stored.response.previous_response_id
    return [
        item
        for stored in reversed(chain)
        for item in (*stored.input, *items.kept(stored.response.output))
    ]


def _named(request: Request) -> tuple[Served, str, str]:
    return request.app.state.served, request.state.owner, request.path_params["response_id"]


async def retrieve_response(request: Request) -> Response:
    """A kept response, as it is now."""
    if request.query_params.get("stream", "false").lower() not in ("false", "0"):
        raise UnsupportedParameter("stream is not supported here; poll it", param="stream")
    stored = stored_of(*_named(request))
    return Response(encode(stored.response), media_type="application/json")


async def delete_response(request: Request) -> Response:
    """Forget it; one that is being made ends."""
    served, owner, name = _named(request)
    stored = stored_of(served, owner, name)
    if stored.task is not None:
        await _end(stored.task)
    served.responses.drop(owner, name)
    return Response(encode(objects.Deleted(name)), media_type="application/json")


async def cancel_response(request: Request) -> Response:
    """End one that is made in the background; harmless when it has ended."""
    stored = stored_of(*_named(request))
    if stored.task is None:
        raise RequestError("only a response with background: true can be cancelled")
    await _end(stored.task)
    return Response(encode(stored.response), media_type="application/json")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def list_input(request: Request) -> Response:
    """A page of what a response answers: limit, order (desc is the default, as OpenAI's), after."""
    stored = stored_of(*_named(request))
    given = request.query_params
    limit, order = given.get("limit", "20"), given.get("order", "desc")
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= MAX_PAGE):
        raise InvalidParameter(
            f"limit is {limit[:100]!r}; it must be 1 to {MAX_PAGE}", param="limit"
        )
    if order not in ("asc", "desc"):
        raise InvalidParameter(f"order is {order[:100]!r}; it must be asc or desc", param="order")
    found = stored.input if order == "asc" else stored.input[::-1]
    if (after := given.get("after")) is not None:
        place = next((i for i, item in enumerate(found) if item["id"] == after), None)
        if place is None:
            raise InvalidParameter(f"after is {after[:100]!r}, which is no item", param="after")
        found = found[place + 1 :]
    page = found[: int(limit)]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    body = objects.ItemList(page, first, last, len(found) > len(page))
    return Response(encode(body), media_type="application/json")
