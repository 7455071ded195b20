"""What a loaded model of the null platform and its programs share."""

from __future__ import annotations

from dovetail.graph import Graph

from dovetail_sdk.batches import Cache
from dovetail_sdk.registers import Calls, Registers

from .digests import Digests
from .order import Job, Order
from .tokens import U64


class State:
    """A graph, the tokens of its slots, and the work that was issued.

    limit   steps that may be in flight
    strict  compute late, from the cache alone, and check every call
    seed    of the answers that strict models give to `done`
    paged   None before the cache is allocated, and after the model is closed
    """

    def __init__(self, graph: Graph, limit: int, *, strict: bool, seed: int) -> None:
        self.graph = graph
        self.strict = strict
        self.order = Order(lazy=strict, seed=seed)
        self.registers = Registers()
        self.in_flight: list[Job[U64]] = []
        self.vocab_size = _width(graph, "logits")
        self.calls = Calls(self.vocab_size)
        self.paged: Digests | None = None
        self._limit = limit

    def digests(self) -> Digests:
        """The cache; ValueError before `allocate`."""
        if self.paged is None:
            raise ValueError("the cache was not allocated")
        return self.paged

    def cache(self) -> Cache:
        """The cache's measures, for checks."""
        digests = self.digests()
        layout = digests.layout
        return Cache(layout.block_size, tuple(map(len, digests.blocks)), layout.groups)

    def check_flight(self) -> None:
        """ValueError if no further step may be issued before one is waited for."""
        self.in_flight = [job for job in self.in_flight if not job.finished]
        if len(self.in_flight) >= self._limit:
            raise ValueError(f"a step was issued while {len(self.in_flight)} were in flight")

    def settle(self) -> None:
        """Run every step that is in flight."""
        for job in self.in_flight:
            self.order.run_to(job)
        self.in_flight.clear()


def _width(graph: Graph, output: str) -> int:
    """Last axis of an output of the graph, 0 if it has none of that name."""
    if output not in graph.outputs:
        return 0
    return int(graph.values[graph.outputs[output]].shape[-1])
