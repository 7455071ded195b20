"""A request's token ids as they come -> its text, log-probabilities and end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dovetail.errors import EngineError, InvalidParameter
from dovetail.request import FinishReason, Output, TokenLogprobs
from dovetail.sampling import SamplingParams

from .parts import Parser, Part, Text
from .stopping import StopMatcher
from .tokenizer import Tokenizer


@dataclass(slots=True)
class Scored:
    """A token of the reply and its log-probabilities.

    start  characters of the reply's text before the token
    end    and after it
    """

    token: int
    logprobs: TokenLogprobs
    start: int
    end: int


@dataclass(slots=True)
class Delta:
    """What one output of the engine adds to a reply.

    text     plain, before any of the parts
    scored   tokens whose text is out, if log-probabilities were asked for
    finish   with the last delta
    stopped  the stop string or token id that ended the reply
    parts    what follows the text, where a parser has taken the reply apart; see `split`
    tokens   ids that it brought, where somebody asked for them
    """

    text: str = ""
    scored: list[Scored] = field(default_factory=list)
    finish: FinishReason | None = None
    stopped: str | int | None = None
    parts: Sequence[Part] = ()
    tokens: Sequence[int] = ()

    def spoken(self) -> Iterator[Part]:
        """Everything it says, in order."""
        if self.text:
            yield Text(self.text)
        yield from self.parts

    def split(self, parser: Parser) -> None:
        """Take its text apart, and at the end what the parser held back."""
        parts = list(parser.push(self.text)) if self.text else []
        if self.finish is not None:
            parts += parser.flush()
        first = parts[0] if parts else None
        self.text = first.text if isinstance(first, Text) else ""
        self.parts = parts[1:] if isinstance(first, Text) else parts


class TokenStream(Protocol):
    """What `deltas` reads: an engine's stream."""

    def __aiter__(self) -> AsyncIterator[Output]: ...

    def cancel(self) -> None: ...


class Reply:
    """The text of one sequence, growing.

    num_tokens  generated so far, the one that ended the sequence included
    num_cached  prompt tokens that came from the prefix cache
    finish      why it ended, None while it goes on
    """

    __slots__ = (
        "_decoder",
        "_emitted",
        "_form",
        "_length",
        "_matcher",
        "_min_tokens",
        "_show_stop_token",
        "_waiting",
        "finish",
        "num_cached",
        "num_tokens",
    )

    def __init__(
        self,
        tokenizer: Tokenizer,
        params: SamplingParams,
        *,
        keep: Sequence[int] = (),
        prompt: Sequence[int] = (),
    ) -> None:
        """What it starts from.

        keep    special ids that stay in the text
        prompt  what the text goes on from, for completions; an answer in a chat is a text of its own
        """
        self._decoder = tokenizer.decoder(
            skip_special_tokens=params.skip_special_tokens, keep=keep, prompt=prompt
        )
        self._matcher = (
            StopMatcher(params.stop, keep=params.include_stop_str_in_output)
            if params.stop
            else None
        )
        self._form = (params.grammar.field or None) if params.grammar is not None else None
        self._min_tokens = params.min_tokens
        self._show_stop_token = params.include_stop_str_in_output
        self._waiting: list[Scored] = []
        self._length = 0  # characters decoded
        self._emitted = 0  # characters given out
        self.num_tokens = 0
        self.num_cached = 0
        self.finish: FinishReason | None = None

    def feed(self, output: Output) -> Delta:
        """The text and the rest that an output adds. Raises EngineError for an output that carries an error."""
        if output.finish is FinishReason.ERROR and output.refused:
            raise InvalidParameter(
                output.error or "the engine cannot do what was asked", param=self._form
            )
        if output.finish is FinishReason.ERROR:
            raise EngineError(output.error or "the engine could not go on with this request")
        if output.cached >= 0:
            self.num_cached = output.cached
        if self._matcher is None and output.logprobs is None:
            return self._feed_plain(output)
        return self._feed_each(output)

    def _feed_plain(self, output: Output) -> Delta:
        """All tokens at once: nothing depends on which token brought which text."""
        tokens = output.tokens
        self.num_tokens += len(tokens)
        text = self._decoder.push(self._visible(output) if output.stop_id is not None else tokens)
        if output.finish is not None:
            self.finish = output.finish
            text += self._decoder.flush()
        return Delta(text, [], output.finish, output.stop_id)

    def _visible(self, output: Output) -> list[int]:
        """The tokens that make text: not the one that ended the sequence."""
        return output.tokens if self._show_stop_token else output.tokens[:-1]

    def _feed_each(self, output: Output) -> Delta:
        """Token by token, so that the reply ends at the token that completes a stop string."""
        delta = Delta(finish=output.finish, stopped=output.stop_id)
        visible = len(output.tokens) if output.stop_id is None else len(self._visible(output))
        last = len(output.tokens) - 1 if output.finish is not None else -1
        for index, token in enumerate(output.tokens):
            self.num_tokens += 1
            text = self._decoder.push([token]) if index < visible else ""
            if index == last:
                text += self._decoder.flush()
            start, self._length = self._length, self._length + len(text)
            if output.logprobs is not None:
                scored = Scored(token, output.logprobs[index], start, self._length)
                self._waiting.append(scored)
            delta.text += self._match(text)
            if self._matcher is not None and self._matcher.matched is not None:
                delta.finish = FinishReason.STOP
                delta.stopped = self._matcher.matched
                break
        if delta.finish is not None:
            self._end(delta, decoded=bool(output.tokens))
        self._emitted += len(delta.text)
        delta.scored = self._release(whole=delta.finish is not None)
        return delta

    def _match(self, text: str) -> str:
        if self._matcher is None or self.num_tokens <= self._min_tokens:
            return text
        return self._matcher.push(text)

    def _end(self, delta: Delta, *, decoded: bool) -> None:
        """Give out what was held back."""
        self.finish = delta.finish
        if not decoded:
            rest = self._decoder.flush()
            self._length += len(rest)
            delta.text += self._match(rest)
        if self._matcher is not None:
            delta.text += self._matcher.flush()

    def _release(self, *, whole: bool) -> list[Scored]:
        """Tokens whose text is out; at the end all that are not past a stop string."""
        ready, self._waiting = self._waiting, []
        if not ready:
            return ready
        cut = whole and self._matcher is not None and self._matcher.matched is not None
        if cut:
            return [s for s in ready if s.start < self._emitted or s.end <= self._emitted]
        if whole or ready[-1].end <= self._emitted:
            return ready
        count = sum(1 for s in ready if s.end <= self._emitted)
        self._waiting = ready[count:]
        return ready[:count]


async def deltas(stream: TokenStream, reply: Reply) -> AsyncIterator[Delta]:
    """The deltas of a stream, to the end; a stop string cancels what the engine still does."""
    async for output in stream:
        delta = reply.feed(output)
        yield delta
        if delta.finish is not None:
            if output.finish is None:
                stream.cancel()
            return
