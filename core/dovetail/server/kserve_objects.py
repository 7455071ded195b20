"""Answers in KServe's form, for the description of the API and its tests; they are not written from these types."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class Server(msgspec.Struct):
    """What answers."""

    name: str
    version: str
    extensions: list[str]


class Live(msgspec.Struct):
    """Whether the engine lives."""

    live: bool


class Ready(msgspec.Struct):
    """Whether new requests are taken; name: of the model that was asked about."""

    ready: bool
    name: str | UnsetType = UNSET


class Tensor(msgspec.Struct):
    """What goes in or comes out."""

    name: str
    datatype: Literal["BYTES"]
    shape: list[int]


class Model(msgspec.Struct):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class Generated(msgspec.Struct, kw_only=True):
    """A reply, or with `done` a piece of one."""

    model_name: str
    model_version: str
    text_output: str
    id: str | UnsetType = UNSET


class Piece(Generated, kw_only=True):
    """A piece of a reply."""

    done: bool


class Failure(msgspec.Struct):
    """The body of every answer from 400 on; Ollama's is the same."""

    error: str
