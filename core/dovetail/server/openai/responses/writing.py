"""The parts of a reply -> output items that grow, and an event for each thing that happens to them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from dovetail.server.openai.logprobs import chat_entries, shown
from dovetail.text.parts import CallArguments, CallEnd, CallStart, Part, Reasoning, Text
from dovetail.text.reply import Delta, Scored
from dovetail.text.tokenizer import Tokenizer

from . import events, objects
from .objects import ItemStatus, Logprob, OutputItem

Emit = Callable[[events.Event], Any]


class Writer:
    """Output items, as far as they have got.

    items  the last one is open until another begins or `end` is called
    """

    def __init__(self, tokenizer: Tokenizer, emit: Emit) -> None:
        """Emit: is given each event while the items are as it tells."""
        self._tokenizer = tokenizer
        self._emit = emit
        self._pieces: list[str] = []
        self._logprobs: list[Logprob] = []
        self._scored: list[Scored] = []
        self.items: list[OutputItem] = []
        self._open: OutputItem | None = None

    def feed(self, delta: Delta) -> None:
        """What one output of the engine adds."""
        self._scored += shown(delta)
        for part in delta.spoken():
            self._take(part)

    def _take(self, part: Part) -> None:
        if isinstance(part, Text):
            self._say(part.text)
        elif isinstance(part, Reasoning):
            self._reason(part.text)
        elif isinstance(part, CallStart):
            call = objects.FunctionCall(id=_fresh("fc"), call_id=part.id, name=part.name)
            self._begin(call)
        elif isinstance(part, CallArguments):
            self._pieces.append(part.text)
            self._emit(
                events.ArgumentsDelta(output_index=self._at, item_id=self._id, delta=part.text)
            )
        elif isinstance(part, CallEnd):
            self.end("completed")

    @property
    def _at(self) -> int:
        return len(self.items) - 1

    @property
    def _id(self) -> str:
        return self.items[-1].id

    def _say(self, text: str) -> None:
        if not isinstance(self._open, objects.OutputMessage):
            self._begin(objects.OutputMessage(id=_fresh("msg")))
            self._part(events.PartAdded, objects.OutputText())
        self._pieces.append(text)
        logprobs = self._entries()
        self._logprobs += logprobs
        self._emit(
            events.TextDelta(output_index=self._at, item_id=self._id, delta=text, logprobs=logprobs)
        )

    def _entries(self) -> list[Logprob]:
        """Of the tokens whose text is out."""
        scored, self._scored = self._scored, []
        return [_logprob(entry) for entry in chat_entries(self._tokenizer, scored)]

    def _reason(self, text: str) -> None:
        if not isinstance(self._open, objects.Reasoning):
            self._begin(objects.Reasoning(id=_fresh("rs")))
            self._part(events.PartAdded, objects.ReasoningText())
        self._pieces.append(text)
        self._scored.clear()  # log-probabilities are of the answer's text alone
        self._emit(events.ReasoningDelta(output_index=self._at, item_id=self._id, delta=text))

    def _begin(self, item: OutputItem) -> None:
        self.end("completed")
        self._pieces, self._logprobs = [], []
        self.items.append(item)
        self._open = item
        self._emit(events.ItemAdded(output_index=self._at, item=item))

    def _part(
        self,
        kind: type[events.PartAdded | events.PartDone],
        part: objects.OutputText | objects.ReasoningText,
    ) -> None:
        self._emit(kind(output_index=self._at, item_id=self._id, part=part))

    def close(self, status: ItemStatus) -> None:
        """The reply has ended; a reply that says nothing is an empty message."""
        if not self.items:
            self._say("")
        self.end(status)

    def end(self, status: ItemStatus) -> None:
        """The open item is as whole as it gets."""
        item, text = self._open, "".join(self._pieces)
        self._open = None
        if item is None:
            return
        at: dict[str, Any] = {"output_index": self._at, "item_id": self._id}
        if isinstance(item, objects.OutputMessage):
            part = objects.OutputText(text, logprobs=self._logprobs)
            self._emit(events.TextDone(**at, text=text, logprobs=self._logprobs))
            self._part(events.PartDone, part)
            item.content = [part]
        elif isinstance(item, objects.Reasoning):
            reasoning = objects.ReasoningText(text)
            self._emit(events.ReasoningDone(**at, text=text))
            self._part(events.PartDone, reasoning)
            item.content = [reasoning]
        else:
            item.arguments = text
            self._emit(events.ArgumentsDone(**at, arguments=text))
        item.status = status
        self._emit(events.ItemDone(output_index=self._at, item=item))


def _logprob(entry: dict[str, Any]) -> Logprob:
    top = [objects.TopLogprob(**other) for other in entry["top_logprobs"]]
    return Logprob(entry["token"], entry["logprob"], entry["bytes"], top)


def _fresh(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(16)}"


def blank(_: events.Event) -> None:
    """For whoever wants the items alone."""
