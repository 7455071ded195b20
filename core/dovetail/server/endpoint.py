"""A route, with what it takes and gives: one declaration, read by the router, the gate and the API's description."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dovetail.engine.admission import check_task
from dovetail.errors import DovetailError

from . import errors as forms
from .words import in_words

EVENTS = "text/event-stream"
Handle = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path.

    path      as Starlette writes it: /v1/models/{model:path}
    handle    answers a request; DovetailErrors it raises become answers in the dialect's form
    summary   one line for the description of the API
    body      type of the request's JSON body, None if it takes none
    answer    type of the answer's JSON, None if it is no JSON
    streamed  type of each event of a streamed answer, None if it is never streamed
    events    media type of a streamed answer
    errors    how an error is answered here; OpenAI's form unless a dialect has its own
    words     shared names of fields -> what they are called here, for errors
    query     parameters of the query string: name -> type
    open      needs no key
    tasks     what the model must be served for, one of them; empty: anything
    admin     exists only where there is an admin key, and takes no other
    """

    method: str
    path: str
    handle: Handle
    summary: str
    body: Any = None
    answer: Any = None
    streamed: Any = None
    events: str = EVENTS
    errors: forms.Answer = forms.answer
    words: Mapping[str, str] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    open: bool = False
    tasks: tuple[str, ...] = ()
    admin: bool = False

    def route(self) -> Route:
        """For Starlette."""
        return Route(
            self.path, _Application(self), methods=[self.method], name=self.handle.__name__
        )

    async def answer_to(self, request: Request) -> Response:
        """What is answered; DovetailErrors in the dialect's form."""
        try:
            self._check_task(request)
            return await self.handle(request)
        except DovetailError as error:
            return self.errors(in_words(error, self.words) if self.words else error)

    def _check_task(self, request: Request) -> None:
        info = request.app.state.served.engine.info
        if self.tasks and info.task not in self.tasks:
            check_task(self.tasks[0], info)


class _Application:
    """An endpoint as ASGI: a function would get one more layer that handles exceptions, which the application has."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.path = endpoint.path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._endpoint.answer_to(Request(scope, receive, send))
        await response(scope, receive, send)
