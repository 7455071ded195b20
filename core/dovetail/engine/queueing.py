"""Who may join the queue: so many requests, so many tokens, and nobody all of them; and when it is worth coming again."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable

from dovetail.errors import Overloaded

SHARE = 4
"""An owner may hold one request, or so many times what is free then: one alone four fifths, two four ninths each."""
WINDOW_S = 60.0
MOST_ENDS = 1024
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
"""OpenAI's clients take no longer wait from a server."""


class Queue:
    """Places for requests that run or wait. One that asks when there is none is told when there will be one for it.

    requests  places
    tokens    that all together may have, prompts and what they may generate; one alone may have more
    clock     seconds, from anywhere

    The share of an owner is bounded by what is free (Choudhury and Hahne 1998, Dynamic Queue Length Thresholds), so that
    one who fills the queue leaves room for the next. Whoever is refused is promised a moment of his own, one after the
    other at the rate at which requests have been ending: so they do not all come back at once.
    """

    def __init__(
        self, requests: int, tokens: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._places, self._most_tokens = requests, tokens
        self._clock = clock
        self._requests: Counter[str] = Counter()  # by owner
        self._owned: Counter[str] = Counter()  # tokens by owner
        self._open = self._tokens = 0
        self._ends: deque[float] = deque(maxlen=MOST_ENDS)
        self._busy_since = self._promised = -math.inf

    @property
    def tokens(self) -> int:
        """Of all that have a place."""
        return self._tokens

    def join(self, owner: str, tokens: int) -> None:
        """Take a place; raises Overloaded, which says when to come again."""
        why = self._full(tokens) or (self._unfair(owner, tokens) if owner else None)
        if why is not None:
            raise self._overloaded(why, tokens)
        if not self._open:
            self._busy_since = self._clock()
        self._open += 1
        self._tokens += tokens
        self._requests[owner] += 1
        self._owned[owner] += tokens

    def closed(self) -> Overloaded | None:
        """What any request is told now, whatever it asks; None where that depends on it."""
        why = self._full(0) if self._open >= self._places else None
        return None if why is None else self._overloaded(why, 0)

    def leave(self, owner: str, tokens: int) -> None:
        """Give it back."""
        self._ends.append(self._clock())
        self._open -= 1
        self._tokens -= tokens
        self._requests[owner] -= 1
        self._owned[owner] -= tokens
        if not self._requests[owner]:
            del self._requests[owner], self._owned[owner]

    def _overloaded(self, why: str, tokens: int) -> Overloaded:
        wait_s = self._wait_s(tokens)
        return Overloaded(
            f"{why}; try again in {max(1, math.ceil(wait_s))} s", retry_after_s=wait_s
        )

    def _full(self, tokens: int) -> str | None:
        if self._open >= self._places:
            return f"{self._open} requests are running or waiting, which is the limit (--max-queue)"
        if self._open and self._tokens + tokens > self._most_tokens:
            return (
                f"{self._open} requests of {self._tokens} tokens are running or waiting and this one may have {tokens}, "
                f"together more than {self._most_tokens} (--max-queue-tokens)"
            )
        return None

    def _unfair(self, owner: str, tokens: int) -> str | None:
        mine, owned = self._requests[owner], self._owned[owner]
        free = self._places - self._open
        if mine and mine + 1 > SHARE * (free - 1):
            return f"{mine} requests of this key are running or waiting, and the {free} places left are for others"
        left = self._most_tokens - self._tokens
        if mine and owned + tokens > SHARE * (left - tokens):
            return f"requests of this key with {owned} tokens are running or waiting, and the {left} left are for others"
        return None

    def _wait_s(self, tokens: int) -> float:
        """Seconds until there is room, by how fast requests have been ending, after all that has been promised."""
        now = self._clock()
        each_s = self._seconds_per_end(now)
        over = self._tokens + tokens - self._most_tokens
        ends = max(1, -(-over * self._open // max(1, self._tokens)))
        at = max(now + ends * each_s, self._promised + each_s)
        self._promised = min(at, now + self._open * each_s, now + LONGEST_WAIT_S)
        return self._promised - now

    def _seconds_per_end(self, now: float) -> float:
        """Over the last minute, or since there was nothing to do; if nothing has ended, at least all of that."""
        since = max(self._busy_since, now - WINDOW_S)
        if len(self._ends) == MOST_ENDS:
            since = max(since, self._ends[0])
        while self._ends and self._ends[0] < since:
            self._ends.popleft()
        if not self._ends:
            return max(FIRST_WAIT_S, now - since)
        return (now - since) / len(self._ends)
