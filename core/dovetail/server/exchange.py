"""One HTTP request and its answer, as they are written down when it is over: a log line, a count, a trace.

Never what either of them says: no prompt, no reply, no key, no query string.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from .metrics import Timing

UNKNOWN_ROUTE = "other"
MAX_PATH = 200
MAX_TIMINGS = 16  # of a request with many choices


@dataclass(slots=True, eq=False, kw_only=True)
class Exchange:
    """What is remembered of a request.

    path          as it came, percent signs decoded
    route         the path of its endpoint, as declared; UNKNOWN_ROUTE if it is none's
    started_ns    since 1970
    started       on the clock of Timing, seconds
    key           name of the key it brought
    failure       kind of the error that broke a stream off
    timings       of its first choices
    trace_parent  the caller's, as W3C's traceparent has it
    """

    method: str
    path: str
    request_id: str
    started_ns: int = field(default_factory=time.time_ns)
    started: float = field(default_factory=time.perf_counter)
    ended: float = 0.0
    status: int = 0
    route: str = UNKNOWN_ROUTE
    key: str = ""
    failure: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    timings: list[Timing] = field(default_factory=list)
    trace_parent: str = ""

    def timed(self, timing: Timing) -> Timing:
        """Remember when the tokens of a choice came."""
        if len(self.timings) < MAX_TIMINGS:
            self.timings.append(timing)
        return timing

    def fields(self) -> dict[str, Any]:
        """For the log."""
        fields: dict[str, Any] = {
            "method": self.method[:20],
            "path": self.path[:MAX_PATH],
            "status": self.status,
            "duration_ms": round((self.ended - self.started) * 1e3, 1),
        }
        for name in ("prompt_tokens", "cached_tokens", "generated_tokens", "key", "failure"):
            if value := getattr(self, name):
                fields[name] = value
        return fields


NOBODY = Exchange(method="", path="", request_id="")
"""Where no request is being answered: written to, and never read."""
EXCHANGE: ContextVar[Exchange] = ContextVar("exchange", default=NOBODY)
