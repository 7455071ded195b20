"""Delivered tokens on the null platform, exact: whatever the batching, chunks, preemption, prefix hits, steps in flight."""

import random
from collections import deque

import pytest
from dovetail.engine.pack import SlotParameters, pack
from dovetail.graph import CacheGroup, Graph, Value
from dovetail.platform import KVLayout, Shape
from dovetail.scheduler import Scheduler
from dovetail_sdk.null import NullPlatform, expected

from .driving import request_of

VOCAB = 60
STOP = 9
GRAPH = Graph(
    name="tokens only",
    dtype="f32",
    inputs=("tokens", "positions", "outputs"),
    nodes=(),
    values={"logits": Value("logits", ("N", VOCAB), "f32")},
    weights={},
    outputs={"logits": "logits"},
    cache=(CacheGroup("all", (0,), 1, 8, 8),),
)


class Driver:
    """A scheduler and a null device of the given kind."""

    def __init__(self, kind: str, settings: dict):
        platform = NullPlatform()
        device = platform.open([info for info in platform.probe() if info.id == kind])
        self.depth = device.capabilities.steps_in_flight
        self.scheduler = Scheduler(
            max_num_seqs=6, max_model_len=128, steps_in_flight=self.depth, **settings
        )
        self.scheduler.admission.watermark = 0
        model = device.load(GRAPH, None)
        model.allocate(
            KVLayout(settings["block_size"], "f32", GRAPH.cache), (settings["num_blocks"],)
        )
        tokens, blocks = settings["max_num_batched_tokens"], self.scheduler.slots.table.shape[1]
        self.program = model.compile(Shape(tokens, 6, 6 + 64, blocks))
        self.parameters = SlotParameters(6)
        self.flights = deque()
        self.tokens: dict[str, list[int]] = {}

    def step(self) -> None:
        plan = self.scheduler.plan()
        if plan is not None:
            batch, rows, columns = pack(plan, self.parameters)
            pending = self.program.run(batch)
            self.flights.append((plan, pending, pending.sample(rows, columns)))
        if plan is None or len(self.flights) >= self.depth:
            oldest, pending, ticket = self.flights.popleft()
            pending.wait()
            for commit in self.scheduler.commit(oldest, ticket.result().ids[: len(oldest.drawing)]):
                self.tokens.setdefault(commit.sequence.request.id, []).extend(commit.tokens)
        self.scheduler.check()

    def run(self, requests) -> dict[str, list[int]]:
        """Requests arrive while others run."""
        arriving = deque(requests)
        while arriving or self.scheduler.has_work:
            for _ in range(min(2, len(arriving))):
                self.scheduler.add(arriving.popleft())
            self.step()
        return self.tokens


def requests_of(seed: int) -> list:
    rng = random.Random(seed)
    shared = [rng.randrange(VOCAB) for _ in range(40)]
    requests = []
    for index in range(24):
        own = [rng.randrange(VOCAB) for _ in range(rng.randint(1, 12))]
        requests.append(
            request_of(
                f"r{index}",
                shared[: rng.choice([0, 13, 40])] + own,
                rng.randint(1, 40),
                stop_ids=[STOP],
                temperature=rng.choice([0, 1]),
                seed=rng.randrange(1 << 64),
            )
        )
    return requests


ROOMY = {"num_blocks": 400, "block_size": 4, "max_num_batched_tokens": 512}
SETTINGS = {
    "roomy": ROOMY,
    "small chunks": {**ROOMY, "max_num_batched_tokens": 7},
    "tiny pool": {**ROOMY, "num_blocks": 28},
    "no prefix caching": {**ROOMY, "prefix_caching": False},
    "large blocks": {**ROOMY, "block_size": 16, "num_blocks": 100},
    "tiny pool and chunks": {"num_blocks": 50, "block_size": 2, "max_num_batched_tokens": 6},
}


@pytest.mark.parametrize("kind", ["0", "ahead3", "strict", "strict2", "strict3"])
@pytest.mark.parametrize("name", SETTINGS)
def test_tokens_on_the_null_platform_depend_on_the_request_alone(name, kind):
    requests = requests_of(1)
    driver = Driver(kind, SETTINGS[name])
    tokens = driver.run(requests)
    for request in requests:
        want = expected(
            request.prompt,
            request.max_tokens,
            VOCAB,
            stop_ids=request.stop_ids,
            temperature=request.sampling.temperature,
            seed=request.seed,
        )
        assert tokens[request.id] == want
    if name.startswith("tiny pool"):
        assert driver.scheduler.stats.preemptions > 0
    if name != "no prefix caching":
        assert driver.scheduler.stats.cached_tokens > 0
