"""A small HTTP client on asyncio: one connection per request, JSON answers and server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from typing import Any

from dovetail.errors import ConfigError, EngineError, RequestError

MAX_LINE = 1 << 24


class ServerConnection:
    """How to reach a server. Raises EngineError where it cannot be reached, RequestError where it refuses."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        try:
            self._port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise ConfigError(f"{url} is no URL: {error}") from error
        if not parts.hostname:
            raise ConfigError(f"{url} names no host")
        self._url = url
        self._host = parts.hostname
        self._netloc = parts.netloc.rpartition("@")[2]
        self._base = parts.path.rstrip("/").removesuffix("/v1")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._key = api_key

    async def get(self, path: str) -> Any:
        """The JSON at a path."""
        async with self._exchange("GET", path, None) as lines:
            return json.loads(b"".join([line async for line in lines]) or b"null")

    async def events(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The events that answer a POST, up to [DONE]."""
        async with self._exchange("POST", path, body) as lines:
            async for line in lines:
                data = line.strip().removeprefix(b"data:").strip()
                if not line.startswith(b"data:"):
                    continue
                if data == b"[DONE]":
                    return
                event = json.loads(data)
                if "error" in event:
                    raise EngineError(str(event["error"].get("message", event["error"])))
                yield event

    @contextlib.asynccontextmanager
    async def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            reader, writer = await asyncio.open_connection(
                self._host, self._port, ssl=self._tls, limit=MAX_LINE
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise EngineError(f"{self._url} cannot be reached: {reason}") from error
        try:
            writer.write(self._request(method, path, body))
            status, headers = await _head(reader)
            lines = _lines(_body(reader, headers))
            if status >= 400:
                raise _refusal(self._url, status, b"".join([line async for line in lines]))
            yield lines
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise EngineError(f"{self._url} ended the connection") from error
        except ValueError as error:  # no JSON, or no HTTP
            raise EngineError(
                f"{self._url} is no OpenAI-compatible server: what it answers to {path} cannot be read; "
                "give the address of one, like http://127.0.0.1:8000"
            ) from error
        finally:
            writer.close()

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> bytes:
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {self._base}{path} HTTP/1.1", f"Host: {self._netloc}"]
        lines += ["Connection: close", f"Content-Length: {len(data)}"]
        if data:
            lines.append("Content-Type: application/json")
        if self._key:
            lines.append(f"Authorization: Bearer {self._key}")
        return "\r\n".join([*lines, "", ""]).encode() + data


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes]]:
    status = (await reader.readline()).split(b" ")
    if len(status) < 2 or not status[1].isdigit():
        raise EngineError("the server does not speak HTTP")
    headers = {}
    while (line := await reader.readline()).strip():
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    return int(status[1]), headers


async def _body(
    reader: asyncio.StreamReader, headers: Mapping[bytes, bytes]
) -> AsyncIterator[bytes]:
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        while size := int((await reader.readline()).split(b";")[0] or b"0", 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        return
    left = int(headers.get(b"content-length", b"0"))
    yield await reader.readexactly(left)


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def _refusal(url: str, status: int, body: bytes) -> Exception:
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = body[:200].decode(errors="replace").strip()
    kind = RequestError if status < 500 else EngineError
    return kind(f"{url} answered {status}: {message}")
