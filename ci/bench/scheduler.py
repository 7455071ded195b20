"""Cost of scheduling per token in steady decode: plan, pack and commit, and the same with the null platform's step.

    python ci/bench/scheduler.py [--rows 32,256,1024] [--steps 400] [--steps-in-flight 1] [--context 300]

Medians in microseconds per token over steps in which every sequence advances by one token. `total` is the target:
at most 3 microseconds at 256 rows.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from dovetail.engine.pack import SlotParameters, pack
from dovetail.graph import CacheGroup, Graph, Value
from dovetail.platform import KVLayout, Program, Shape, Ticket, Tokens
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from dovetail.scheduler import Plan, Scheduler
from dovetail_sdk.null import NullPlatform

BLOCK_SIZE = 16
VOCAB = 50_000
TARGET_US = 3.0


@dataclass
class Times:
    """Seconds of each step, by what was done."""

    plan: list[float] = field(default_factory=list)
    pack: list[float] = field(default_factory=list)
    run: list[float] = field(default_factory=list)
    commit: list[float] = field(default_factory=list)

    def median_us(self, name: str, rows: int) -> float:
        values = getattr(self, name)
        return float(np.median(values)) / rows * 1e6 if values else 0.0


def new_scheduler(rows: int, context: int, steps: int, steps_in_flight: int) -> Scheduler:
    """Rows sequences of about `context` tokens that will run for all the steps."""
    length = context + 2 * BLOCK_SIZE + 2 * steps
    scheduler = Scheduler(
        num_blocks=rows * -(-length // BLOCK_SIZE) + 1,
        block_size=BLOCK_SIZE,
        max_num_seqs=rows,
        max_num_batched_tokens=max(2048, rows),
        max_model_len=length,
        steps_in_flight=steps_in_flight,
    )
    rng = random.Random(0)
    for index in range(rows):
        prompt = [rng.randrange(VOCAB) for _ in range(context + rng.randrange(BLOCK_SIZE))]
        scheduler.add(
            Request(
                id=f"r{index}",
                prompt=prompt,
                sampling=SamplingParams(temperature=0.7, top_p=0.9),
                max_tokens=length - len(prompt),
                stop_ids=frozenset({VOCAB}),
            )
        )
    return scheduler


def null_program(scheduler: Scheduler, rows: int) -> Program:
    """A program of the null platform for the scheduler's steps."""
    platform = NullPlatform()
    graph = Graph(
        name="bench",
        dtype="f32",
        inputs=("tokens", "positions", "outputs"),
        nodes=(),
        values={"logits": Value("logits", ("N", VOCAB), "f32")},
        weights={},
        outputs={"logits": "logits"},
        cache=(CacheGroup("all", (0,), 1, 64, 64),),
    )
    device = platform.open([info for info in platform.probe() if info.id == "0"])
    model = device.load(graph, None)  # type: ignore[arg-type]  # the null platform reads no weights
    layout = KVLayout(BLOCK_SIZE, "f32", graph.cache)
    model.allocate(layout, (scheduler.cache.total + 1,))
    return model.compile(Shape(max(2048, rows), rows, rows + 64, scheduler.slots.table.shape[1]))


def measure(scheduler: Scheduler, program: Program | None, rows: int, steps: int) -> Times:
    """Drive the scheduler until `steps` steps of pure decode have been timed."""
    times, parameters = Times(), SlotParameters(rows)
    flights: deque[tuple[Plan, Ticket[Tokens] | None]] = deque()
    clock = time.perf_counter
    while len(times.commit) < steps:
        start = clock()
        plan = scheduler.plan()
        planned = clock()
        if plan is not None:
            batch, wanted, columns = pack(plan, parameters)
            packed = clock()
            ticket = program.run(batch).sample(wanted, columns) if program else None
            ran = clock()
            flights.append((plan, ticket))
            if plan.num_tokens == plan.num_rows == rows:
                times.plan.append(planned - start)
                times.pack.append(packed - planned)
                times.run.append(ran - packed)
        if plan is None or len(flights) >= scheduler.steps_in_flight:
            oldest, sampled = flights.popleft()
            tokens = sampled.result().ids if sampled else np.full(len(oldest.sampling), 7, np.int32)
            start = clock()
            scheduler.commit(oldest, tokens)
            if oldest.num_tokens == oldest.num_rows == rows:
                times.commit.append(clock() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="32,256,1024")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--steps-in-flight", type=int, default=1)
    parser.add_argument("--context", type=int, default=300)
    options = parser.parse_args()
    print(f"microseconds per token, median of {options.steps} steps, context {options.context}")
    print(f"{'rows':>6} {'plan':>8} {'pack':>8} {'commit':>8} {'total':>8} {'+ null step':>12}")
    for rows in map(int, options.rows.split(",")):
        found: list[Times] = []
        for on_null in (False, True):
            gc.collect()
            scheduler = new_scheduler(rows, options.context, options.steps, options.steps_in_flight)
            program = null_program(scheduler, rows) if on_null else None
            found.append(measure(scheduler, program, rows, options.steps))
        bare = [found[0].median_us(name, rows) for name in ("plan", "pack", "commit")]
        null = sum(found[1].median_us(name, rows) for name in ("plan", "pack", "run", "commit"))
        cells = " ".join(f"{value:8.3f}" for value in [*bare, sum(bare)])
        print(f"{rows:6d} {cells} {null:12.3f}")
        if rows == 256:
            verdict = "met" if sum(bare) <= TARGET_US else "MISSED"
            print(f"       target at 256 rows: {TARGET_US} microseconds, {verdict}")


if __name__ == "__main__":
    main()
