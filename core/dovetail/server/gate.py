"""What stands in front of every route: request id, host, API key, and the closed door while the server drains."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dovetail.errors import DeadlineExceeded, DovetailError, Overloaded

from . import forms
from .access import CALLER, Access, Caller, RateLimited
from .endpoint import Endpoint
from .errors import Answer, Draining, NotAuthorized, WrongHost, answer
from .exchange import EXCHANGE
from .journal import Journal
from .life import LIFE, Life

ID_HEADERS = (b"x-request-id", b"request-id")  # OpenAI's and Anthropic's
# OpenAI's words: clients look for them
# what paths of a dialect that are none of its endpoints begin with -> how it answers errors
FAMILIES = {"/api/": forms.plain, "/v1/messages": forms.anthropic, "/v2": forms.plain}


class Gate:
    """Pure ASGI. Everything but open endpoints needs a key, if there are keys.

    access    the keys
    journal   writes down how requests went, refused ones too
    origins   web sites whose pages may use the server from a browser (CORS); "*" is any
    hosts     names that requests may be sent to and web pages may send from; none means any. A server that only
              this machine reaches needs them: a web page in its browser can send requests to any name (DNS rebinding)
    request_timeout_s  seconds a request that makes work may take; 0 for no limit
    closed    what any request that makes work is refused with now, before anything of it is read; None for nothing
    draining  True once the server is about to stop: requests that make work are answered 503
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        endpoints: Sequence[Endpoint],
        access: Access,
        journal: Journal,
        hosts: Iterable[str] = (),
        origins: Sequence[str] = (),
        request_timeout_s: float = 0.0,
        closed: Callable[[], Overloaded | None] | None = None,
    ) -> None:
        self._app = app
        self._timeout_s = request_timeout_s
        self._access = access
        self._journal = journal
        self._origins = frozenset(origin.encode() for origin in origins)
        self._admin = tuple({_fixed(e.path) for e in endpoints if e.admin})
        self._whole: ASGIApp = self._checked
        if origins:
            self._whole = CORSMiddleware(
                self._checked,
                allow_origins=tuple(origins),
                allow_methods=("GET", "POST", "PUT", "DELETE"),
                allow_headers=("*",),
                expose_headers=("x-request-id", "retry-after"),
            )
        self._closed = closed
        self._working = frozenset(e.path for e in endpoints if e.method == "POST" and e.tasks)
        self._open = frozenset(e.path for e in endpoints if e.open)
        self._errors = {e.path: e.errors for e in endpoints if "{" not in e.path}
        below = {_fixed(e.path): e.errors for e in endpoints if "{" in e.path}
        self._errors_below: Mapping[str, Answer] = FAMILIES | below
        self._hosts = frozenset(_host(host.encode()) for host in hosts)
        self.draining = False

    @property
    def has_keys(self) -> bool:
        """Whether requests must bring a key."""
        return bool(self._access.keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._journal.record(self._whole, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        exchange = EXCHANGE.get()
        more = [(name, exchange.request_id.encode()) for name in ID_HEADERS]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        caller = self._caller(scope["path"], headers)
        error: DovetailError | None = caller if isinstance(caller, DovetailError) else None
        if not isinstance(caller, DovetailError):
            scope["state"]["owner"] = caller.owner
            exchange.key = caller.name
            CALLER.set(caller)
            error = self._refusal(scope, headers, caller)
            if caller.allowance is not None:
                more += caller.allowance.headers()
        if scope["path"] in self._errors:
            exchange.route = scope["path"]
        if error is None and scope["method"] == "POST":
            error = await self._lived(scope, receive, send_with_id)
        elif error is None:
            await self._app(scope, receive, send_with_id)
        if error is not None:
            await self.form(scope["path"])(error)(scope, receive, send_with_id)

    async def _lived(self, scope: Scope, receive: Receive, send: Send) -> DeadlineExceeded | None:
        """Answer, until the client leaves or the time is up; the error to answer with if that was before all replies."""
        life = Life(self._timeout_s)
        LIFE.set(life)
        try:
            async with life.timer:
                await self._app(scope, receive, send)
        except TimeoutError:
            if not life.timer.expired():
                raise
            return life.error()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not life.gone or task is None or task.uncancel():
                raise
        finally:
            life.close()
        return None

    def form(self, path: str) -> Answer:
        """How errors are answered on a path: in the form of the endpoint it leads to, or of the dialect it is of."""
        if path in self._errors:
            return self._errors[path]
        fitting = [start for start in self._errors_below if path.startswith(start)]
        return self._errors_below[max(fitting, key=len)] if fitting else answer

    def _caller(self, path: str, headers: Mapping[bytes, bytes]) -> Caller | NotAuthorized:
        """Who asks; everybody is the same where there are no keys."""
        if path in self._open:
            return Caller()
        key = _key(headers)
        if path.startswith(self._admin):
            if key is not None and self._access.is_admin(key):
                return Caller("admin", name="admin")
            return NotAuthorized(f"{_wrong(key, 'admin key')}; send Authorization: Bearer KEY")
        if not self._access.keys:
            return Caller()
        found = self._access.caller(key) if key is not None else None
        return found or NotAuthorized(f"{_wrong(key, 'API key')}; send Authorization: Bearer KEY")

    def _refusal(
        self, scope: Scope, headers: Mapping[bytes, bytes], caller: Caller
    ) -> DovetailError | None:
        if self._hosts and scope["path"] not in self._open:
            wrong = self._wrong_host(headers)
            if wrong is not None:
                return wrong
        if self.draining and scope["method"] == "POST":
            return Draining("the server is stopping and takes no new requests")
        if self._closed is not None and scope["path"] in self._working:
            error = self._closed()
            if error is not None:
                return error
        if caller.allowance is not None and scope["method"] == "POST":
            try:
                caller.allowance.admit()
            except RateLimited as error:
                return error
        return None

    def _wrong_host(self, headers: Mapping[bytes, bytes]) -> WrongHost | None:
        host, origin = headers.get(b"host", b""), headers.get(b"origin")
        if _host(host) not in self._hosts:
            named = host[:100].decode("latin-1")
            return WrongHost(
                f"this server answers to {', '.join(sorted(self._hosts))} and not to {named!r}; use one of these, "
                "name yours with --allowed-host, or start it with an API key"
            )
        if (
            origin is not None
            and not self._welcome(origin)
            and _host(origin.partition(b"://")[2]) not in self._hosts
        ):
            named = origin[:100].decode("latin-1")
            return WrongHost(
                f"web pages of {named} may not use this server; name their host with --allowed-host, or start it with an API key"
            )
        return None

    def _welcome(self, origin: bytes) -> bool:
        """Whether pages from there may use the server."""
        return origin in self._origins or b"*" in self._origins


def _wrong(key: bytes | None, kind: str) -> str:
    """Some clients tell a wrong key by OpenAI's words."""
    if key is None:
        return f"the {kind} is missing"
    return f"Incorrect {kind} provided: it is not one of this server's"


def _fixed(path: str) -> str:
    """What all paths of an endpoint begin with."""
    return path.partition("{")[0]


def _key(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The key that came, as OpenAI's clients send it or as Anthropic's do; None if there is none."""
    given = headers.get(b"authorization")
    if given is None:
        return headers.get(b"x-api-key")
    scheme, _, key = given.partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else None


def _host(authority: bytes) -> str:
    """The host of "host:port", in one spelling."""
    name = authority.decode("latin-1").strip().lower()
    if not name.startswith("["):
        return name.partition(":")[0].removesuffix(".")
    return name.partition("]")[0] + "]"
