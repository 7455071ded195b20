"""What a step of the null platform costs: the floor under every measurement of the engine.

    python ci/bench/null_floor.py [--rows 256] [--context 500]

Prints the median in microseconds per row-token of decode steps (run and sample), and per token of a prompt chunk.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from dovetail.graph import CacheGroup, Graph, Value
from dovetail.platform import Batch, KVLayout, SamplingColumns, Shape
from dovetail_sdk.null.platform import NullDevice

SIZE, VOCAB = 16, 151936


def columns(rows: int) -> SamplingColumns:
    """Greedy."""
    whole = {name: np.full(rows, -1, np.int32) for name in ("target", "logprobs")}
    zeros = {name: np.zeros(rows, np.int32) for name in ("top_k", "position")}
    return SamplingColumns(
        slot=np.arange(1, rows + 1, dtype=np.int32),
        temperature=np.zeros(rows, np.float32),
        top_p=np.ones(rows, np.float32),
        min_p=np.zeros(rows, np.float32),
        seed=np.zeros((rows, 2), np.uint32),
        **whole,
        **zeros,
    )


def batch(rows: int, past: int, count: int, table: np.ndarray) -> Batch:
    """Every row advances by `count` tokens; one token is read from the row's slot."""
    total = rows * count
    tokens = np.arange(total, dtype=np.int32) % VOCAB
    if count == 1:
        tokens = ~np.arange(1, rows + 1, dtype=np.int32)
    return Batch(
        tokens=tokens,
        positions=np.tile(np.arange(past, past + count, dtype=np.int32), rows)[None],
        row_starts=np.arange(0, total + 1, count, dtype=np.int32),
        slots=np.arange(1, rows + 1, dtype=np.int32),
        past=np.full(rows, past, np.int32),
        tables=(table,),
        copies=(np.zeros((0, 2), np.int32),),
        outputs=np.arange(count - 1, total, count, dtype=np.int32),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--context", type=int, default=500)
    options = parser.parse_args()
    rows, context = options.rows, options.context
    groups = (CacheGroup("all", (0,), 1, 4, 4),)
    values = {"logits": Value("logits", ("N", VOCAB), "f32")}
    graph = Graph("nothing", "f32", (), (), values, {}, {"logits": "logits"}, groups)
    per_row = -(-(context + 200) // SIZE)
    table = np.arange(1, rows * per_row + 1, dtype=np.int32).reshape(rows, per_row)
    for strict in (False, True):
        model = NullDevice(strict=strict).load(graph, None)  # type: ignore[arg-type]
        model.allocate(KVLayout(SIZE, "f32", groups), (rows * per_row + 1,))
        program = model.compile(Shape(rows * context, rows, rows, per_row))
        params, which = columns(rows), np.arange(rows, dtype=np.int32)
        start = time.perf_counter()
        program.run(batch(rows, 0, context, table)).sample(which, params).result()
        prompt = time.perf_counter() - start
        times = []
        for step in range(100):
            made = batch(rows, context + step, 1, table)
            start = time.perf_counter()
            program.run(made).sample(which, params).result()
            times.append(time.perf_counter() - start)
        decode = statistics.median(times)
        print(
            f"{'strict' if strict else 'plain':7s} decode {1e6 * decode / rows:6.2f} us per row-token "
            f"({rows} rows, context {context}); prompt {1e6 * prompt / rows / context:6.3f} us per token"
        )


if __name__ == "__main__":
    main()
