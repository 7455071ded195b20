"""How far a request has got."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from dovetail.cache import Node
from dovetail.request import Request

from .frontiers import Frontier


class State(Enum):
    """Where a sequence is: in the line (or behind a leader), in a slot, or over."""

    WAITING = auto()
    RUNNING = auto()
    DONE = auto()


@dataclass(slots=True, eq=False)
class Sequence:
    """A request on its way. What changes at every step is kept per slot, in Slots; here is what changes now and then.

    tokens       prompt and output as far as they are known on the host
    limit        tokens at which it is over: prompt + max_tokens
    order        its place among all sequences, least first, given by the policy
    slot         its row in Slots, 0 if it has none; kept until no step in flight has a row of it
    blocks       block ids in order, held once each
    node         where its next full block will be published
    published    how many of its blocks are in the tree
    frontier     the block it computes for others, and who waits for it
    awaits       the block it waits for instead of computing it itself
    complete     its grammar lets nothing follow the tokens it has, or is about to get
    late         the device may sample a row only once the token before is known here (penalties, grammar)
    matched      what of it was in the cache when it was last asked; held by no one
    passed       steps in which later sequences, of which more was cached, were let in before it
    scored       prompt tokens up to here have their log-probabilities, or need none
    cached       prompt tokens found in the cache when it was first admitted, -1 before that
    """

    request: Request
    order: tuple[int, ...]
    tokens: list[int]
    num_prompt: int
    limit: int
    stop_ids: frozenset[int]
    late: bool = False
    complete: bool = False
    state: State = State.WAITING
    slot: int = 0
    blocks: list[int] = field(default_factory=list)
    node: Node | None = None
    published: int = 0
    frontier: Frontier | None = None
    awaits: Frontier | None = None
    matched: list[Node] = field(default_factory=list)
    passed: int = 0
    scored: int = 0
    cached: int = -1
    reported: bool = False
    preemptions: int = 0

    @property
    def num_output(self) -> int:
        """Tokens generated so far."""
        return len(self.tokens) - self.num_prompt

    @property
    def positions(self) -> int:
        """Positions it computes at most: the last token is never fed back."""
        return max(self.num_prompt, self.limit - 1)

    @property
    def scoring(self) -> bool:
        """Whether prompt positions still want their log-probability."""
        return self.scored < self.num_prompt - 1


def sequence_of(request: Request, order: tuple[int, ...]) -> Sequence:
    """A new sequence for a request."""
    num_prompt = len(request.prompt)
    sampling = request.sampling
    return Sequence(
        request=request,
        order=order,
        tokens=list(request.prompt),
        num_prompt=num_prompt,
        limit=num_prompt + request.max_tokens,
        stop_ids=request.stop_ids,
        late=sampling.late,
        scored=num_prompt - 1 if sampling.prompt_logprobs is None else 0,
    )
