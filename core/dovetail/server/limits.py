"""Reading a body: declared as JSON, bounded in bytes, time and nesting, then decoded to a type."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from dovetail.errors import InvalidParameter, RequestError

from .errors import BodyTooLarge, BodyTooSlow, WrongMediaType
from .life import LIFE

MAX_BODY_BYTES = 32 << 20
BODY_TIMEOUT_S = 60.0
DISCARD_TIMEOUT_S = 2.0
LARGE_BODY_BYTES = 1 << 20
UNTYPED = ("", "application/x-www-form-urlencoded")  # no program's choice: the latter is curl's
MAX_NESTING = 64
MAX_ELEMENTS = 100_000
MAX_VALUES = 300_000  # of a body, which holds the event loop while it is decoded; OpenAI takes as many token ids at once
_PLACE = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`$")

T = TypeVar("T")


async def read_json(
    request: Request, decoder: msgspec.json.Decoder[T], *, max_bytes: int, untyped: bool = False
) -> T:
    """The body as the decoder's type. Raises RequestError that names the field that is wrong.

    untyped  programs may leave the content type out, or to curl, as they do in this dialect; a web page, which names its
             origin, may not
    Leaves the number of its bytes in request.state.size: no work on its contents is larger.
    """
    _check_media_type(request, untyped)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > 2 * max_bytes:
        raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await _read(request, max_bytes)
    except TimeoutError:
        raise BodyTooSlow(f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None
    request.state.size = len(body)
    life = LIFE.get()
    if life is not None:
        life.watch(request.receive)
    return decode(body, decoder)


def _check_media_type(request: Request, untyped: bool) -> None:
    given = request.headers.get("content-type", "")
    if untyped and given in UNTYPED and "origin" not in request.headers:
        return
    media_type = given.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise WrongMediaType(
            f"the content type is {given[:100]!r}; send JSON with the header Content-Type: application/json"
        )


async def _read(request: Request, max_bytes: int) -> bytes:
    parts, size, values = [], 0, 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > max_bytes:
                await _discard(request, max_bytes)
                raise _too_large(max_bytes)
            values += part.count(b",") + part.count(b"[") + part.count(b"{")
            if values > MAX_VALUES:
                await _discard(request, max_bytes)
                raise BodyTooLarge(
                    f"the body holds more than {MAX_VALUES} commas and opening brackets, and so as many values; "
                    "send fewer token ids at once"
                )
            parts.append(part)
    except ClientDisconnect:
        raise RequestError("the client left before its body was complete") from None
    return b"".join(parts)


async def _discard(request: Request, max_bytes: int) -> None:
    """Read on for a while without keeping anything: a client that still sends would not see the answer."""
    left = max_bytes
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_TIMEOUT_S):
            more = True
            while more and left > 0:
                message = await request.receive()
                left -= len(message.get("body", b""))
                more = message.get("more_body", False)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has more than {max_bytes} bytes; send less, or start the server with a larger --max-body-size"
    )


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode JSON; raises InvalidParameter with the place that is wrong."""
    try:
        with _no_collection(len(body)):
            return decoder.decode(body.decode())
    except msgspec.ValidationError as error:
        message = str(error)
        place = _PLACE.search(message)
        param = place[1] or None if place else None
        what = message[: place.start()] if place else message
        raise InvalidParameter(
            f"{param or 'the body'}: {what[:1].lower()}{what[1:]}", param=param
        ) from None
    except msgspec.DecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8: byte {error.start} cannot be read") from None
    except RecursionError:
        raise RequestError("the body is nested too deeply to be read") from None


@contextlib.contextmanager
def _no_collection(size: int) -> Iterator[None]:
    """Keep the garbage collector from going over all that a large body becomes, again and again as it grows."""
    if size < LARGE_BODY_BYTES or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def check_nesting(name: str, value: Any) -> None:
    """Raise if a value of free form is nested deeper than MAX_NESTING or holds more than MAX_ELEMENTS."""
    level, count = [value], 0
    for _ in range(MAX_NESTING):
        count += sum(len(outer) for outer in level if isinstance(outer, dict | list))
        if count > MAX_ELEMENTS:
            raise InvalidParameter(
                f"{name} holds more than {MAX_ELEMENTS} values; send fewer", param=name
            )
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise InvalidParameter(f"{name} is nested more than {MAX_NESTING} levels deep", param=name)


def check_count(name: str, given: Sequence[Any] | Mapping[Any, Any] | None, most: int) -> None:
    """Raise if a list or an object has more than `most` entries."""
    if given is not None and len(given) > most:
        raise InvalidParameter(
            f"{name} has {len(given)} entries; at most {most} are allowed", param=name
        )
