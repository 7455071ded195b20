"""Events of a streamed response. The tag is the event's name; numbers rise by one from 0."""

from __future__ import annotations

import msgspec

from .objects import Logprob, OutputItem, OutputText, ReasoningText, Response


class Event(msgspec.Struct, kw_only=True):
    """Any of them."""

    sequence_number: int = 0


class OfResponse(Event, kw_only=True):
    """The response as it is now."""

    response: Response


class Created(OfResponse, tag="response.created"):
    """It exists."""


class InProgress(OfResponse, tag="response.in_progress"):
    """It is being made."""


class Completed(OfResponse, tag="response.completed"):
    """It is whole."""


class IncompleteResponse(OfResponse, tag="response.incomplete"):
    """It was cut off."""


class Failed(OfResponse, tag="response.failed"):
    """It cannot be completed."""


class OfItem(Event, kw_only=True):
    """Something about an output item."""

    output_index: int


class ItemAdded(OfItem, tag="response.output_item.added", kw_only=True):
    """It begins."""

    item: OutputItem


class ItemDone(OfItem, tag="response.output_item.done", kw_only=True):
    """It is whole."""

    item: OutputItem


class OfPart(OfItem, kw_only=True):
    """Something about a part of an item's content."""

    item_id: str
    content_index: int = 0


class PartAdded(OfPart, tag="response.content_part.added", kw_only=True):
    """It begins."""

    part: OutputText | ReasoningText


class PartDone(OfPart, tag="response.content_part.done", kw_only=True):
    """It is whole."""

    part: OutputText | ReasoningText


class TextDelta(OfPart, tag="response.output_text.delta", kw_only=True):
    """More text."""

    delta: str
    logprobs: list[Logprob] = []


class TextDone(OfPart, tag="response.output_text.done", kw_only=True):
    """All of the text."""

    text: str
    logprobs: list[Logprob] = []


class ReasoningDelta(OfPart, tag="response.reasoning_text.delta", kw_only=True):
    """More reasoning."""

    delta: str


class ReasoningDone(OfPart, tag="response.reasoning_text.done", kw_only=True):
    """All of the reasoning."""

    text: str


class ArgumentsDelta(OfItem, tag="response.function_call_arguments.delta", kw_only=True):
    """More of a call's arguments."""

    item_id: str
    delta: str


class ArgumentsDone(OfItem, tag="response.function_call_arguments.done", kw_only=True):
    """All of a call's arguments."""

    item_id: str
    arguments: str


class Failure(Event, tag="error", kw_only=True):
    """The stream breaks off."""

    message: str
    code: str | None = None
    param: str | None = None


AnyEvent = (
    Created
    | InProgress
    | Completed
    | IncompleteResponse
    | Failed
    | ItemAdded
    | ItemDone
    | PartAdded
    | PartDone
    | TextDelta
    | TextDone
    | ReasoningDelta
    | ReasoningDone
    | ArgumentsDelta
    | ArgumentsDone
    | Failure
)
