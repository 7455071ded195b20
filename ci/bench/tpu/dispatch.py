"""What a step costs the host on the TPU platform: packing, launching, asking for its tokens, reading them.

    python ci/bench/tpu/dispatch.py [--rows 32] [--steps 300] [--layers 2 32]

A decode step of some rows on the emulated device, of a model with nearly no width, two steps in flight, waited for as the engine
does. Reported: microseconds on the clock in `run` and `sample` together (issue) and in the ticket's `result` (read), medians;
what the device takes is in neither. Beside them a jitted call that does nothing, in the same process.

Layers that are alike are one array per weight, so that 32 of them are as many arguments as 2 (arguments=); but the emulated device
computes on the host's own cores, and with 32 layers its steps of some 20 ms leave the host's caches cold. A chip does
not: 2 layers are nearer to what its host sees, 32 are an upper bound.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from dovetail import models
from dovetail.graph import passes
from dovetail.platform import Batch, KVLayout, Pending, SamplingColumns, Shape, Ticket, Tokens
from dovetail.weights.random_source import random_weights
from dovetail_tpu.platform import TpuPlatform

SIZE, PAST = 16, 100


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 32])
    options = parser.parse_args()
    for layers in options.layers:
        for fused in (True, False):
            measure(options.rows, options.steps, layers, fused)


def measure(rows: int, steps: int, layers: int, fused: bool) -> None:
    """One line."""
    program, groups, arguments = open_program(rows, layers, fused)
    batch, columns = decode_step(rows, groups)
    sampled = np.arange(rows, dtype=np.int32)
    issue, read = [], []
    flight: deque[tuple[Pending, Ticket[Tokens]]] = deque()
    for _ in range(steps):
        started = time.perf_counter()
        pending = program.run(batch)
        flight.append((pending, pending.sample(sampled, columns)))
        issue.append(time.perf_counter() - started)
        if len(flight) == 2:
            oldest, ticket = flight.popleft()
            oldest.wait()
            while not ticket.done():  # sampled apart, on the device
                time.sleep(0)
            started = time.perf_counter()
            ticket.result()
            read.append(time.perf_counter() - started)
    issued, was_read = (1e6 * statistics.median(found) for found in (issue, read))
    print(
        f"sampling={'with the step' if fused else 'apart'} rows={rows} layers={layers} arguments={arguments} "
        f"steps={steps} issue={issued:.0f}us read={was_read:.0f}us together={issued + was_read:.0f}us "
        f"empty_call={empty_call(rows):.0f}us",
        flush=True,
    )


def open_program(rows: int, layers: int, fused: bool) -> tuple[Any, int, int]:
    """A program for steps of so many rows of a model of thin layers on the emulated device, sampled as on chips or as where
    emulated; its cache groups, and the arrays that a call is given."""
    platform = TpuPlatform()
    device: Any = platform.open([info for info in platform.probe() if info.emulated][:1])
    target = device._target
    chip = replace(target.settings.chip, fused_sampling=fused)
    device._target = replace(target, settings=replace(target.settings, chip=chip))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 64,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 4096,
    }
    able, plain = device.capabilities, models.build(config, dtype="f32")
    graph = passes.prepare(
        plain, ops=able.ops, supports=device.supports, fused=able.fused_ops, rewrites=able.rewrites
    ).graph
    model: Any = device.load(graph, random_weights(graph))
    blocks = PAST // SIZE + 1
    model.allocate(KVLayout(SIZE, "f32", graph.cache), (rows * blocks + 1,))
    arguments = len(jax.tree.leaves(model._resident._params)) + len(graph.cache) + 2
    return model.compile(Shape(rows, rows, rows, blocks)), len(graph.cache), arguments


def decode_step(rows: int, groups: int) -> tuple[Batch, SamplingColumns]:
    """A token more for every row, drawn greedily into its slot."""
    blocks = PAST // SIZE + 1
    table = (1 + np.arange(rows * blocks, dtype=np.int32)).reshape(rows, blocks)
    number, slots = np.zeros(rows, np.int32), np.arange(1, rows + 1, dtype=np.int32)
    batch = Batch(
        tokens=~slots,
        positions=np.full((1, rows), PAST, np.int32),
        row_starts=np.arange(rows + 1, dtype=np.int32),
        slots=slots,
        past=np.full(rows, PAST, np.int32),
        tables=(table,) * groups,
        copies=(np.zeros((0, 2), np.int32),) * groups,
        outputs=np.arange(rows, dtype=np.int32),
    )
    real = np.zeros(rows, np.float32)
    columns = SamplingColumns(
        slot=slots,
        target=number - 1,
        temperature=real,
        top_k=number,
        top_p=real + 1,
        min_p=real,
        seed=np.zeros((rows, 2), np.uint32),
        position=number,
        logprobs=number - 1,
    )
    return batch, columns


def empty_call(rows: int) -> float:
    """Microseconds of a jitted call that is given one vector and does nothing."""
    vector = np.zeros(64 * rows, np.int32)
    nothing = jax.jit(lambda array: array[:1])
    nothing(vector).block_until_ready()
    times = []
    for _ in range(300):
        started = time.perf_counter()
        made = nothing(vector)
        times.append(time.perf_counter() - started)
        made.block_until_ready()
    return 1e6 * statistics.median(times)


if __name__ == "__main__":
    main()
