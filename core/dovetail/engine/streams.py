"""The receiving end of requests: one stream each, fed from the engine's reports on the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

from dovetail.errors import EngineStopped, Overloaded
from dovetail.request import Output, Request

from .admission import check_request
from .client import EngineInfo
from .queueing import Queue


class QueuedStream:
    """Outputs of one request, buffered until they are asked for. Used on the event loop only."""

    __slots__ = (
        "_buffer",
        "_cancel",
        "_ended",
        "_error",
        "_waiter",
        "owner",
        "request_id",
        "tokens",
    )

    def __init__(
        self, request_id: str, cancel: Callable[[str], None], *, owner: str = "", tokens: int = 0
    ) -> None:
        self.request_id = request_id
        self.owner, self.tokens = owner, tokens
        self._buffer: deque[Output] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._ended = False
        self._cancel = cancel

    def push(self, output: Output) -> None:
        """Add an output; what a slow reader has not taken yet grows longer and not more."""
        if self._error is not None:
            return  # it has been told how this ended
        if self._buffer and _joined(self._buffer[-1], output):
            return
        self._buffer.append(output)
        self._wake()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def cancel(self) -> None:
        """End the request within a step; harmless when it has ended."""
        if not self._ended:
            self._cancel(self.request_id)

    def abort(self, error: Exception) -> None:
        """Cancel it; whoever iterates gets what is there and then the error, without waiting for the engine."""
        if not self._ended and self._error is None:
            self._cancel(self.request_id)
            self.fail(error)

    def __aiter__(self) -> AsyncIterator[Output]:
        return self

    async def __anext__(self) -> Output:
        while not self._buffer:
            if self._ended:
                raise StopAsyncIteration
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        output = self._buffer.popleft()
        self._ended = output.finish is not None
        return output


def _joined(last: Output, output: Output) -> bool:
    """Make one output of two consecutive ones; not where only one of them has log-probabilities."""
    if (last.logprobs is None) != (output.logprobs is None):
        return False
    last.tokens += output.tokens
    if last.logprobs is not None and output.logprobs is not None:
        last.logprobs += output.logprobs
    last.finish, last.stop_id, last.error = output.finish, output.stop_id, output.error
    last.refused = output.refused
    return True


class Streams:
    """All requests that have not ended, by id."""

    def __init__(self, info: EngineInfo, max_queue: int, max_tokens: int) -> None:
        self.info = info
        self._queue = Queue(info.max_num_seqs + max_queue, max_tokens)
        self._open: dict[str, QueuedStream] = {}
        self.stopped: EngineStopped | None = None

    @property
    def num_open(self) -> int:
        """Requests that have not ended."""
        return len(self._open)

    @property
    def num_tokens(self) -> int:
        """That they may have, prompts included."""
        return self._queue.tokens

    def closed(self) -> Overloaded | None:
        """What any new request is refused with now; None where that depends on the request."""
        return self._queue.closed()

    def open(self, request: Request, cancel: Callable[[str], None]) -> QueuedStream:
        """A stream for a new request; raises what keeps it from being queued."""
        if self.stopped is not None:
            raise self.stopped
        check_request(request, self.info)
        tokens = len(request.prompt) + request.max_tokens
        self._queue.join(request.owner, tokens)
        stream = QueuedStream(request.id, cancel, owner=request.owner, tokens=tokens)
        self._open[request.id] = stream
        return stream

    def deliver(self, outputs: Iterable[Output]) -> None:
        """Hand outputs to their streams."""
        for output in outputs:
            stream = self._open.get(output.request_id)
            if stream is None:
                continue
            if output.finish is not None:
                del self._open[output.request_id]
                self._queue.leave(stream.owner, stream.tokens)
            stream.push(output)

    def stop(self, error: EngineStopped) -> None:
        """The engine is gone: every open stream raises."""
        self.stopped = error
        for stream in self._open.values():
            stream.fail(error)
        self._open.clear()
