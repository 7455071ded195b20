"""Text of a reply as it comes -> its parts; the same parts however the text was cut."""

from __future__ import annotations

from contextlib import suppress

from dovetail.text.parts import Part

from .format import Format
from .harmony import read_harmony
from .reasoning import Tags
from .source import Enough, Markers, NoCall, Reading, Source
from .writer import Schemas, Writer, call_id

CLOSERS = " \t\r\n]})"


class Reader:
    """Reads one reply.

    Text that looks like a call and is none stays text; of a call that has begun nothing is taken back.

    done       the one call that was wanted is over: what follows is not read
    num_calls  begun so far
    reasoning  what comes next is reasoning
    """

    def __init__(
        self,
        *,
        calls: Format | None = None,
        reasoning: Tags | None = None,
        tools: Schemas | None = None,
        parallel: bool = True,
        opened: bool = False,
    ) -> None:
        """What to look for.

        calls     the format of calls, where tools are offered
        tools     name -> schema of the parameters
        parallel  more than one call is wanted
        opened    the reply begins within the reasoning
        reasoning how it is written; None: it is text like any other
        """
        self._calls = calls if tools else None
        self._tags = reasoning
        self._opened = opened
        self._source = Source()
        self._out = Writer(
            tools or {},
            parallel=parallel,
            separate=reasoning is not None,
            hold=self._calls is not None,
            new_id=calls.new_id if calls else call_id,
        )
        channels = calls is not None and calls.whole or reasoning is not None and reasoning.channels
        self._reading = read_harmony(self._source, self._out, opened) if channels else self._read()
        self._over = False
        self._advance()

    @property
    def done(self) -> bool:
        return self._out.done

    @property
    def num_calls(self) -> int:
        return self._out.num_calls

    @property
    def reasoning(self) -> bool:
        return self._out.is_reasoning

    def push(self, text: str) -> list[Part]:
        """What the new text makes certain."""
        if not text or self._over:
            return []
        self._source.add(text)
        self._advance()
        return self._out.take()

    def flush(self) -> list[Part]:
        """What is left at the end."""
        self._source.ended = True
        self._advance()
        with suppress(Enough):
            self._out.flush()
        return self._out.take()

    def _advance(self) -> None:
        if not self._over:
            try:
                next(self._reading)
            except (StopIteration, Enough):
                self._over = True

    def _read(self) -> Reading[None]:
        tags = self._tags
        wraps: tuple[str, ...] = ()
        if tags is not None and (yield from tags.read(self._source, self._out, self._opened)):
            wraps = tags.wraps
        if self._calls is None and not wraps:
            while (yield from self._source.more()):
                self._out.text(self._source.consume(len(self._source.text)))
        else:
            yield from self._answer(self._calls, wraps)

    def _answer(self, calls: Format | None, wraps: tuple[str, ...]) -> Reading[None]:
        """Text and calls; wraps: tags that are left out."""
        source, out = self._source, self._out
        if calls is not None and calls.bare:
            source.mark()
            yield from source.space()
            first = yield from source.peek()
            if first and first in calls.bare:
                yield from self._try(calls, first)
            else:
                out.text(source.journal())
        markers = Markers((*(calls.opening if calls else ()), *wraps))
        while opening := (yield from source.pass_until(markers, out.text)):
            if calls is not None and opening not in wraps:
                source.mark(opening)
                yield from self._try(calls, opening)

    def _try(self, calls: Format, opening: str) -> Reading[None]:
        """Read what may be calls, else give it back as text."""
        source, out = self._source, self._out
        before = out.num_calls
        try:
            yield from calls.read(source, out, opening)
            source.settle()
        except NoCall:
            out.end()
            left = source.journal()
            if out.num_calls == before or left.strip(CLOSERS):
                out.text(left)
