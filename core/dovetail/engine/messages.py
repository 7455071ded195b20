"""What crosses between the server process and the engine process: msgpack, length first, never pickle."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeVar

import msgspec

from dovetail import errors
from dovetail.config import EngineConfig
from dovetail.request import Output, Request
from dovetail.sampling import SamplingParams

from .client import EngineInfo, EngineStats

LENGTH_BYTES = 4
KNOWN_BYTES, KNOWN = 2048, 256
"""Sampling parameters up to this size are remembered, and so many of them."""


class Start(msgspec.Struct, tag=True):
    """The first message: what to load, from a directory that is already here.

    config  its platform names the device, "name:device": the launcher has chosen
    """

    config: EngineConfig
    directory: str
    name: str


class Submit(msgspec.Struct, tag=True, omit_defaults=True):
    """Queue a request; the fields are Request's.

    sampling  encoded: most requests of a server ask for the same, which is then decoded and checked once
    """

    id: str
    prompt: list[int]
    sampling: msgspec.Raw
    max_tokens: int
    seed: int
    stop_ids: frozenset[int] = frozenset()
    priority: int = 0
    salt: str = ""
    breakers: list[list[int]] = []
    bad: list[list[int]] = []
    task: Literal["generate", "embed", "score"] = "generate"
    types: bytes = b""
    owner: str = ""

    @classmethod
    def of(cls, request: Request) -> Submit:
        """A request on its way."""
        return cls(
            request.id,
            request.prompt,
            msgspec.Raw(_encoder.encode(request.sampling)),
            request.max_tokens,
            request.seed,
            request.stop_ids,
            request.priority,
            request.salt,
            request.breakers,
            request.bad,
            request.task,
            request.types,
            request.owner,
        )

    def request(self) -> Request:
        """As it was. Requests that ask for the same share their parameters, which nobody changes."""
        encoded = bytes(self.sampling)
        known = len(encoded) <= KNOWN_BYTES
        return Request(
            id=self.id,
            prompt=self.prompt,
            sampling=_known_parameters(encoded) if known else _parameters.decode(encoded),
            max_tokens=self.max_tokens,
            stop_ids=self.stop_ids,
            seed=self.seed,
            priority=self.priority,
            salt=self.salt,
            breakers=self.breakers,
            bad=self.bad,
            task=self.task,
            types=self.types,
            owner=self.owner,
        )


class Cancel(msgspec.Struct, tag=True):
    """End a request."""

    request_id: str


class Stop(msgspec.Struct, tag=True):
    """End everything and leave."""


class Started(msgspec.Struct, tag=True):
    """The engine is loaded and takes requests."""

    info: EngineInfo


class Failed(msgspec.Struct, tag=True):
    """The engine cannot start, or cannot go on."""

    kind: str
    message: str


class Stepped(msgspec.Struct, tag=True):
    """What one step delivered, and how things stand."""

    outputs: list[Output]
    stats: EngineStats


Command = Start | Submit | Cancel | Stop
Report = Started | Failed | Stepped
Message = TypeVar("Message")

_encoder = msgspec.msgpack.Encoder()
commands: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
_parameters = msgspec.msgpack.Decoder(SamplingParams)
_known_parameters = lru_cache(KNOWN)(_parameters.decode)


def frame(message: Command | Report) -> bytearray:
    """A message as it goes over the wire."""
    data = bytearray(LENGTH_BYTES)
    _encoder.encode_into(message, data, LENGTH_BYTES)
    data[:LENGTH_BYTES] = (len(data) - LENGTH_BYTES).to_bytes(LENGTH_BYTES, "little")
    return data


class Unframer:
    """Cuts a stream of bytes into messages."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now that `data` has arrived."""
        self._data += data
        complete, start = [], 0
        while len(self._data) - start >= LENGTH_BYTES:
            begin = start + LENGTH_BYTES
            end = begin + int.from_bytes(self._data[start:begin], "little")
            if end > len(self._data):
                break
            complete.append(bytes(self._data[begin:end]))
            start = end
        del self._data[:start]
        return complete


def failure(error: BaseException) -> Failed:
    """An exception, as it is told to the other side."""
    return Failed(kind=type(error).__name__, message=str(error) or type(error).__name__)


def raised(failed: Failed) -> errors.DovetailError:
    """The exception to raise for a failure told by the other side: the same class where it is one of ours."""
    kind = getattr(errors, failed.kind, None)
    if isinstance(kind, type) and issubclass(kind, errors.DovetailError):
        return kind(failed.message)
    return errors.EngineStopped(f"the engine failed: {failed.kind}: {failed.message}")
