"""The replies of one HTTP request: one per prompt and choice, started together, merged as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from starlette.types import Receive

from dovetail.engine.client import Stream
from dovetail.errors import DeadlineExceeded, EngineStopped, InvalidParameter
from dovetail.request import FinishReason, Output, TokenLogprobs
from dovetail.sampling import SamplingParams
from dovetail.text.parts import CallStart, Parser
from dovetail.text.reply import Delta, Reply

from .access import CALLER, Allowance
from .exchange import EXCHANGE
from .life import LIFE, Life
from .metrics import Timing
from .served import Served

MAX_CHOICES = 2048
STARTED_AT_ONCE = 16
MAX_UNREAD = 64  # events of a request with several choices; more wait in the engine's streams
Event = tuple["Choice", Delta]
Parsing = Callable[[], Parser | None]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of an answer, each prompt counted once.

    cached     of the prompts, taken from the prefix cache
    reasoning  of those generated
    """

    prompt: int
    generated: int
    cached: int
    reasoning: int


@dataclass(slots=True, eq=False)
class Choice:
    """One reply.

    index      in the answer: prompts in order, their completions within
    parser     takes its text apart; None for plain text
    opened     whether a first chunk has been written
    reasoning  tokens of it that were reasoning
    called     whether it has called a tool
    tokens     ids generated so far, the one that ended it included
    """

    index: int
    prompt: Sequence[int]
    stream: Stream
    reply: Reply
    timing: Timing
    parser: Parser | None = None
    prompt_logprobs: list[TokenLogprobs | None] | None = None
    opened: bool = False
    reasoning: int = 0
    called: bool = False
    tokens: list[int] = field(default_factory=list)
    parts: list[Delta] = field(default_factory=list)


class Generation:
    """Started replies. `close` when done, whatever happened: it cancels what still runs.

    gone         the client has left
    keep_tokens  deltas carry their ids
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._life: Life | None = None
        self._exchange = EXCHANGE.get()
        self._watcher: asyncio.Task[None] | None = None
        self.choices: list[Choice] = []
        self.prompts: Sequence[Sequence[int]] = ()
        self._each = 1  # choices of a prompt
        self.gone = False
        self.keep_tokens = False
        self._allowance: Allowance | None = None
        self._reserved = 0  # tokens of the allowance

    @classmethod
    async def start(
        cls,
        served: Served,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        *,
        request_id: str,
        priority: int = 0,
        salt: str = "",
        clip: bool = False,
        parser: Parsing | None = None,
        continues: bool = False,
    ) -> Generation:
        """Submit everything or nothing; raises RequestError or EngineError.

        parser     makes one for each reply
        continues  the replies go on with the text of their prompts
        """
        if len(prompts) * params.n > MAX_CHOICES:
            raise InvalidParameter(
                f"{len(prompts)} prompts with n = {params.n} make {len(prompts) * params.n} completions; "
                f"at most {MAX_CHOICES} are allowed",
                param="n" if params.n > 1 else "prompt",
            )
        if params.grammar is not None:
            await served.grammars.check(params.grammar)
        caller = CALLER.get()
        requests = []
        for index, prompt in enumerate(p for p in prompts for _ in range(params.n)):
            await _let_others(index)
            request = served.text.request(
                prompt,
                params,
                request_id=f"{request_id}-{index}",
                index=index % params.n,
                priority=priority,
                salt=caller.salt + salt,
                clip=clip,
            )
            requests.append(replace(request, owner=caller.turn) if caller.turn else request)
        self = cls(served)
        self.prompts, self._each = prompts, params.n
        if caller.allowance is not None:
            most = sum(map(len, prompts)) + sum(request.max_tokens for request in requests)
            self._reserved = caller.allowance.reserve(most)
            self._allowance = caller.allowance
        try:
            for index, request in enumerate(requests):
                await _let_others(index)
                stream = await served.engine.submit(request)
                before = request.prompt if continues else ()
                reader = parser() if parser is not None else None
                keep = served.text.speech.keep if reader is not None and served.text.speech else ()
                reply = Reply(served.text.tokenizer, params, keep=keep, prompt=before)
                timing = self._exchange.timed(served.metrics.timing())
                self.choices.append(Choice(index, request.prompt, stream, reply, timing, reader))
        except BaseException:
            self.close()
            raise
        self._life = LIFE.get()
        if self._life is not None:
            self._life.started(self)
        return self

    def watch(self, receive: Receive) -> None:
        """Cancel everything as soon as the client leaves."""
        if self._life is not None:
            self._life.attach()
        else:
            self._watcher = asyncio.create_task(self._watch(receive))

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.leave()

    def leave(self) -> None:
        """Nobody reads the replies any more."""
        self.gone = True
        self.cancel()

    def expire(self, error: DeadlineExceeded) -> None:
        """Their time is up: cancel what still runs, and raise the error where it is read."""
        for choice in self.choices:
            if choice.reply.finish is None:
                choice.timing.finished(FinishReason.CANCELLED)
                choice.stream.abort(error)

    def cancel(self) -> None:
        """End what still runs within a step."""
        for choice in self.choices:
            if choice.reply.finish is None:
                choice.stream.cancel()

    def close(self) -> None:
        """Cancel what still runs and stop watching."""
        self.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._life is not None:
            self._life.ended()
        if self._allowance is not None:
            usage = self.usage()
            used = usage.prompt + usage.generated if self.choices else 0
            self._allowance.settle(self._reserved, used)
            self._allowance = None

    def events(self) -> AsyncIterator[Event]:
        """Deltas of all choices as they come; each choice's last one carries `finish`."""
        return self._events_of(self.choices[0]) if len(self.choices) == 1 else self._merged()

    async def _events_of(self, choice: Choice) -> AsyncIterator[Event]:
        async for output in choice.stream:
            delta = self._take(choice, output)
            if delta is None:
                return
            yield choice, delta
            if delta.finish is not None:
                return

    async def _merged(self) -> AsyncIterator[Event]:
        queue: asyncio.Queue[Event | BaseException | None] = asyncio.Queue(MAX_UNREAD)

        async def pump(choice: Choice) -> None:
            try:
                async for event in self._events_of(choice):
                    await queue.put(event)
                await queue.put(None)
            except Exception as error:  # raised again by whoever reads the queue
                await queue.put(error)

        tasks = [asyncio.create_task(pump(choice)) for choice in self.choices]
        try:
            open_choices = len(tasks)
            while open_choices:
                event = await queue.get()
                if event is None:
                    open_choices -= 1
                elif isinstance(event, BaseException):
                    raise event
                else:
                    yield event
        finally:
            for task in tasks:
                task.cancel()

    def _take(self, choice: Choice, output: Output) -> Delta | None:
        """What an output adds; None once nobody is there to read it."""
        if output.finish is FinishReason.CANCELLED:
            choice.reply.finish = output.finish
            choice.timing.finished(output.finish)
            if self.gone:
                return None
            raise EngineStopped("the engine was stopped before the reply was complete; try again")
        if output.finish is FinishReason.ERROR:
            choice.reply.finish = output.finish
            choice.timing.finished(output.finish)
        if output.prompt_logprobs is not None:
            choice.prompt_logprobs = output.prompt_logprobs
        known = choice.reply.num_tokens
        delta = choice.reply.feed(output)
        generated = choice.reply.num_tokens - known
        choice.tokens += (
            output.tokens if generated == len(output.tokens) else output.tokens[:generated]
        )
        if choice.parser is not None:
            _split(choice, delta, choice.parser, generated)
        if self.keep_tokens:
            delta.tokens = output.tokens[:generated]
        self._count(choice, output, generated)
        choice.timing.tokens(len(output.tokens))
        if delta.finish is not None:
            choice.timing.finished(delta.finish)
            if (
                output.finish is None
            ):  # a stop string or the one call: the engine does not know of it
                choice.stream.cancel()
        return delta

    def _count(self, choice: Choice, output: Output, generated: int) -> None:
        """Add to the metrics what `usage` will say: each prompt once, no tokens after a stop string."""
        metrics, exchange = self._served.metrics, self._exchange
        metrics.generation_tokens += generated
        exchange.generated_tokens += generated
        choice.timing.waited(output.waited_us)
        if output.cached >= 0 and choice.index % self._each == 0:
            metrics.prompt_tokens += len(choice.prompt)
            metrics.cached_tokens += output.cached
            exchange.prompt_tokens += len(choice.prompt)
            exchange.cached_tokens += output.cached

    async def collect(self) -> bool:
        """Run to the end, keeping the deltas in `parts`; False if the client left."""
        async for choice, delta in self.events():
            choice.parts.append(delta)
        return not self.gone

    def usage(self) -> Usage:
        """Tokens so far."""
        count = sum(len(prompt) for prompt in self.prompts)
        generated = sum(choice.reply.num_tokens for choice in self.choices)
        cached = sum(choice.reply.num_cached for choice in self.choices[:: self._each])
        reasoning = sum(choice.reasoning for choice in self.choices)
        return Usage(count, generated, cached, reasoning)


def _split(choice: Choice, delta: Delta, parser: Parser, generated: int) -> None:
    """Take a delta's text apart, counting what was reasoning."""
    if parser.reasoning:
        choice.reasoning += generated
    delta.split(parser)
    if parser.done and delta.finish is None:  # the one call that was wanted is over
        delta.finish = choice.reply.finish = FinishReason.STOP
    choice.called = choice.called or any(isinstance(part, CallStart) for part in delta.parts)


async def _let_others(index: int) -> None:
    """Called per choice: starting many takes long, and other streams are to go on."""
    if index % STARTED_AT_ONCE == STARTED_AT_ONCE - 1:
        await asyncio.sleep(0)
