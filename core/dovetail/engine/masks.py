"""Grammars of requests: compiled on a thread, followed token by token, and turned into masks while the device computes.
And the masks of requests that name the ids they allow.

A mask is made for the tokens that are known, right after they are; it is wanted when the next token is drawn. Nothing is
ever taken back: tokens that a lost cache or a preemption drops were not known yet.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dovetail.errors import DovetailError
from dovetail.platform import I32, U32
from dovetail.request import Request
from dovetail.scheduler import Sequence, State

if TYPE_CHECKING:
    import llguidance

    from dovetail.structured.vocabulary import Vocabulary

Forced = dict[int, list[int]]
Masked = tuple[I32, U32]
STACK_BYTES = 128 << 20
WAIT_S = 0.02
"""How long an idle engine waits for a grammar before it looks at its commands again."""
LOST = "its grammar cannot be followed any further: "


@dataclass(slots=True, eq=False)
class _Follower:
    """A request's place in its grammar.

    masks  being computed for several followers, of which this one's is `row`
    stale  a token has come since
    """

    request: Request
    matcher: llguidance.LLMatcher
    masks: Future[U32]
    row: int = 0
    stale: bool = False


class Masks:
    """The grammars of all requests that have one. One thread calls it.

    load  reads the vocabulary; called by `prepare` or with the first grammar, on a thread
    """

    def __init__(self, load: Callable[[], Vocabulary] | None) -> None:
        self._load = load
        self._vocabulary: Vocabulary | None = None
        self._compiler: ThreadPoolExecutor | None = None
        self._worker: ThreadPoolExecutor | None = None
        self._pool: llguidance.LLExecutor | None = None
        self._compiling: dict[Future[_Follower], Request] = {}
        self._followers: dict[str, _Follower] = {}
        self._fixed: dict[str, U32] = {}

    @property
    def wanted(self) -> bool:
        """Whether any request's tokens are masked."""
        return bool(self._followers or self._fixed)

    @property
    def following(self) -> bool:
        """Whether any request has a grammar."""
        return bool(self._followers)

    # ------------------------------------------------------------------------------------------ requests

    @property
    def compiling(self) -> bool:
        """Whether a grammar is on its way."""
        return bool(self._compiling)

    @property
    def compiling_ids(self) -> list[str]:
        """Requests whose grammar is."""
        return [request.id for request in self._compiling.values()]

    def prepare(self) -> None:
        """Read the vocabulary now; what is wrong with it is told to the first request that needs it."""
        self._threads().submit(self._read)

    def begin(self, request: Request) -> None:
        """Compile a request's grammar; it comes out of `compiled`."""
        self._compiling[self._threads().submit(self._compile, request)] = request

    def _threads(self) -> ThreadPoolExecutor:
        """The thread that compiles; started, and the one that makes masks, when they are first needed."""
        if self._compiler is None:
            self._compiler = ThreadPoolExecutor(1, "dovetail-grammar")
            self._worker = ThreadPoolExecutor(1, "dovetail-masks")
            with _deep_stacks():
                self._compiler.submit(_nothing)  # starts the thread
                self._worker.submit(_nothing)
        return self._compiler

    def _read(self) -> Vocabulary:
        if self._vocabulary is None:
            if self._load is None:
                raise DovetailError("the model has no tokenizer, so its output has no structure")
            import llguidance

            self._pool = llguidance.LLExecutor()
            self._vocabulary = self._load()
        return self._vocabulary

    def _compile(self, request: Request) -> _Follower:
        grammar = request.sampling.grammar
        assert grammar is not None
        follower = _Follower(request, self._read().matcher(grammar), Future())
        follower.masks.set_result(self._compute([follower]))
        return follower

    def compiled(self, *, block: bool) -> list[tuple[Request, str | None]]:
        """Requests whose grammars are compiled, with what was wrong where they could not be; waits a moment if `block`."""
        if not self._compiling:
            return []
        if block:
            wait(self._compiling, timeout=WAIT_S, return_when=FIRST_COMPLETED)
        found: list[tuple[Request, str | None]] = []
        for future in [future for future in self._compiling if future.done()]:
            request = self._compiling.pop(future)
            error = future.exception()
            if error is None:
                self._followers[request.id] = future.result()
            found.append((request, None if error is None else str(error)))
        return found

    def abandon(self, request_id: str) -> bool:
        """Forget a request that is being compiled; False if there is none of that id."""
        for future, request in self._compiling.items():
            if request.id == request_id:
                future.cancel()
                del self._compiling[future]
                return True
        return False

    def allow(self, request: Request, vocab_size: int) -> None:
        """Keep a request to the ids that it allows, if it names any."""
        if ids := request.sampling.allowed_token_ids:
            self._fixed[request.id] = _bits(np.zeros(-(-vocab_size // 32), np.uint32), ids)

    def drop(self, request_id: str) -> None:
        """Forget a request."""
        self._followers.pop(request_id, None)
        self._fixed.pop(request_id, None)

    def close(self) -> None:
        """Stop the threads."""
        for threads in (self._compiler, self._worker):
            if threads is not None:
                threads.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------------------------------------ tokens

    def follow(
        self, drawing: list[Sequence], ids: I32, *, forcing: bool
    ) -> tuple[Forced, list[tuple[Sequence, str]]]:
        """Go on by the tokens just drawn, which are not committed yet.

        forcing  no later step has a row of these sequences
        returns  by index into drawing the tokens that must follow; and the sequences that cannot go on, with the reason
        """
        forced: Forced = {}
        failed: list[tuple[Sequence, str]] = []
        if not self._followers:
            return forced, failed
        for index, sequence in enumerate(drawing):
            follower = self._followers.get(sequence.request.id)
            if follower is None or sequence.state is State.DONE:
                continue
            token = int(ids[index])
            if token in sequence.stop_ids:
                continue
            follower.stale = True
            matcher = follower.matcher
            if not matcher.consume_token(token):
                failed.append((sequence, LOST + _reason(matcher)))
            elif forcing and (more := _next(sequence, matcher)):
                forced[index] = more
            sequence.complete = matcher.is_stopped()
        return forced, failed

    def start(self) -> None:
        """Compute the masks that have become stale, on a thread."""
        stale = [follower for follower in self._followers.values() if follower.stale]
        if not stale or self._worker is None:
            return
        masks = self._worker.submit(self._compute, stale)
        for row, follower in enumerate(stale):
            follower.masks, follower.row, follower.stale = masks, row, False

    def _compute(self, followers: list[_Follower]) -> U32:
        """Masks [n, words] of followers, where their matchers are."""
        assert self._vocabulary is not None
        assert self._pool is not None
        words = self._vocabulary.words
        masks = np.zeros((len(followers), words), np.uint32)
        rows = [(follower.matcher, row) for row, follower in enumerate(followers)]
        self._pool.unsafe_compute_mask_ptr(rows, masks.ctypes.data, 4 * words, len(rows))
        return masks

    # ------------------------------------------------------------------------------------------ masks

    def rows(self, wanted: Iterable[tuple[int, Sequence]]) -> Masked | None:
        """Masks of sampled rows, (index, sequence) in rising order; None if no row has one. Waits until they are there."""
        indices, masks = [], []
        for index, sequence in wanted:
            request_id = sequence.request.id
            if (follower := self._followers.get(request_id)) is not None:
                indices.append(index)
                masks.append(self._mask(follower, sequence))
            elif (fixed := self._fixed.get(request_id)) is not None:
                indices.append(index)
                masks.append(fixed)
        if not indices:
            return None
        return np.array(indices, np.int32), np.stack(masks)

    def _mask(self, follower: _Follower, sequence: Sequence) -> U32:
        """[ceil(V / 32)], with the ids that end the sequence where the grammar lets it end.

        They are left out before min_tokens and with ignore_eos, as long as the grammar knows how to go on.
        """
        assert self._vocabulary is not None
        vocabulary, params = self._vocabulary, sequence.request.sampling
        mask: U32 = follower.masks.result()[follower.row]
        word, bit = divmod(vocabulary.end, 32)
        ends = bool(mask[word] >> np.uint32(bit) & 1)
        mask[word] &= ~np.uint32(1 << bit)
        mask = mask[: -(-vocabulary.size // 32)]
        early = sequence.num_output < params.min_tokens
        if not ends and not early:
            return mask
        if (early or params.ignore_eos) and (rest := _without(mask, sequence.stop_ids)).any():
            return rest if early else mask
        return _with(mask, sequence.stop_ids) if ends else mask


def _next(sequence: Sequence, matcher: llguidance.LLMatcher) -> list[int]:
    """Tokens that must follow the one just consumed, consumed too; cut where the sequence or the wish to see odds ends."""
    room = sequence.limit - len(sequence.tokens) - 1
    if room <= 0 or sequence.request.sampling.logprobs is not None:
        return []
    forced: list[int] = matcher.compute_ff_tokens()[:room]
    stops = [at for at, token in enumerate(forced) if token in sequence.stop_ids]
    if stops:
        del forced[stops[0] :]
    return forced if forced and matcher.consume_tokens(forced) else []


@contextlib.contextmanager
def _deep_stacks() -> Iterator[None]:
    """Threads started within have deep stacks: grammars recurse. Pages of it that are not used cost nothing."""
    before = threading.stack_size(STACK_BYTES)
    try:
        yield
    finally:
        threading.stack_size(before)


def _nothing() -> None:
    pass


def _reason(matcher: llguidance.LLMatcher) -> str:
    from dovetail.structured.vocabulary import reason

    return reason(matcher)


def _bits(mask: U32, ids: Iterable[int]) -> U32:
    bits = np.zeros_like(mask)
    for token in ids:
        bits[token >> 5] |= np.uint32(1 << (token & 31))
    return bits


def _with(mask: U32, ids: Iterable[int]) -> U32:
    return mask | _bits(mask, ids)


def _without(mask: U32, ids: Iterable[int]) -> U32:
    return mask & ~_bits(mask, ids)
