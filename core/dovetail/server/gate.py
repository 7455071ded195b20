"""What stands in front of every route: request id, host, API key, and the closed door while the server drains."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dovetail.errors import RequestError

from .endpoint import Endpoint
from .errors import Answer, Draining, NotAuthorized, WrongHost, answer

ID_HEADERS = (b"x-request-id", b"request-id")  # OpenAI's and Anthropic's
# OpenAI's words: clients look for them
WRONG_KEY = "Incorrect API key provided: it is not one of this server's"
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Gate:
    """Pure ASGI. Everything but open endpoints needs a key, if there are keys.

    hosts     names that requests may be sent to and web pages may send from; none means any. A server that only
              this machine reaches needs them: a web page in its browser can send requests to any name (DNS rebinding)
    draining  True once the server is about to stop: requests that make work are answered 503
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        endpoints: Sequence[Endpoint],
        api_keys: Iterable[str] = (),
        hosts: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._open = frozenset(e.path for e in endpoints if e.open)
        self._errors = {e.path: e.errors for e in endpoints if "{" not in e.path}
        self._errors_below = {_fixed(e.path): e.errors for e in endpoints if "{" in e.path}
        self._hosts = frozenset(_host(host.encode()) for host in hosts)
        self._keys = [_digest(key.encode()) for key in api_keys]
        self.draining = False

    @property
    def has_keys(self) -> bool:
        """Whether requests must bring a key."""
        return bool(self._keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id"))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id.decode()
        state["owner"] = ""

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                ids = [(name, request_id) for name in ID_HEADERS]
                message["headers"] = [*message.get("headers", ()), *ids]
            await send(message)

        error = self._refusal(scope, headers)
        if error is None:
            await self._app(scope, receive, send_with_id)
        else:
            await self._form(scope["path"])(error)(scope, receive, send_with_id)

    def _form(self, path: str) -> Answer:
        """How errors are answered on a path: in the form of the endpoint it leads to."""
        if path in self._errors:
            return self._errors[path]
        fitting = [start for start in self._errors_below if path.startswith(start)]
        return self._errors_below[max(fitting, key=len)] if fitting else answer

    def _refusal(
        self, scope: Scope, headers: Mapping[bytes, bytes]
    ) -> RequestError | Draining | None:
        if self._hosts and scope["path"] not in self._open:
            error = self._wrong_host(headers)
            if error is not None:
                return error
        if self._keys and scope["path"] not in self._open:
            key = _key(headers)
            if key is None or not self._known(key):
                how = "the API key is missing" if key is None else WRONG_KEY
                return NotAuthorized(f"{how}; send Authorization: Bearer KEY")
        if self.draining and scope["method"] == "POST":
            return Draining("the server is stopping and takes no new requests")
        return None

    def _wrong_host(self, headers: Mapping[bytes, bytes]) -> WrongHost | None:
        host, origin = headers.get(b"host", b""), headers.get(b"origin")
        if _host(host) not in self._hosts:
            named = host[:100].decode("latin-1")
            return WrongHost(
                f"this server answers to {', '.join(sorted(self._hosts))} and not to {named!r}; use one of these, "
                "name yours with --allowed-host, or start it with an API key"
            )
        if origin is not None and _host(origin.partition(b"://")[2]) not in self._hosts:
            named = origin[:100].decode("latin-1")
            return WrongHost(
                f"web pages of {named} may not use this server; name their host with --allowed-host, or start it with an API key"
            )
        return None

    def _known(self, key: bytes) -> bool:
        """Compare with every key, in constant time and whatever the lengths."""
        digest = _digest(key)
        return sum(hmac.compare_digest(digest, known) for known in self._keys) > 0


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


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _request_id(given: bytes | None) -> bytes:
    """The client's id if it is a harmless one, else a fresh one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return f"req_{secrets.token_hex(16)}".encode()
