"""The compiled model alone, driven by the smallest possible loop: the floor under the engine's own time per step.

Random weights in the shape of Qwen2.5-0.5B; one prepared batch, changed in place, greedy sampling. overhead.py drives
the same loaded model with this loop and with the engine, in turn.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from dovetail import models
from dovetail.graph import Graph, passes, with_forms
from dovetail.platform import (
    Batch,
    Device,
    KVLayout,
    LoadedModel,
    Program,
    SamplingColumns,
    Shape,
)
from dovetail.weights import choose_forms, random_weights

QWEN2_5_0_5B = {
    "architectures": ["Qwen2ForCausalLM"],
    "vocab_size": 151936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}
CONTEXT = 384
PROMPT = 2048
DECODED = (1, 8, 32)
BLOCK_SIZE = 32


@dataclass(frozen=True, slots=True)
class Bench:
    """A model ready to be driven; num_blocks counts the scrap block."""

    model: LoadedModel
    program: Program
    groups: int
    num_blocks: int


def make_graph(device: Device, layers: int, dtype: str | None, weights: str | None) -> Graph:
    """The shape above in a dtype (the device's first if None) with its matrices in a form."""
    able = device.capabilities
    compute = dtype or able.compute_dtypes[0]
    graph = models.build({**QWEN2_5_0_5B, "num_hidden_layers": layers}, dtype=compute)
    forms = choose_forms(
        graph, None, quantization=weights, accepted=able.weight_forms, compute_dtype=compute
    ).forms
    return passes.prepare(
        with_forms(graph, forms),
        ops=able.ops,
        fused=able.fused_ops,
        rewrites=able.rewrites,
        supports=device.supports,
    ).graph


def load(device: Device, graph: Graph, sequences: int) -> Bench:
    """Random weights, a cache for so many sequences or one prompt, and a program for every step measured here."""
    form = next(
        form
        for form in device.capabilities.cache_forms
        if not form.compute_dtypes or graph.dtype in form.compute_dtypes
    )
    model = device.load(graph, random_weights(graph))
    blocks = -(-(PROMPT + CONTEXT) // BLOCK_SIZE)
    num_blocks = 1 + max(sequences * blocks // 2, blocks)
    model.allocate(KVLayout(BLOCK_SIZE, form.name, graph.cache), (num_blocks,) * len(graph.cache))
    program = model.compile(Shape(tokens=PROMPT, rows=sequences, outputs=sequences, blocks=blocks))
    return Bench(model, program, len(graph.cache), num_blocks)


def make_batch(bench: Bench, rows: int, new: int, past: int, room: int) -> Batch:
    """Rows of `new` tokens after `past`, each with blocks of its own for `room` tokens; the last token is asked for."""
    blocks = -(-room // BLOCK_SIZE)
    table = 1 + np.arange(rows * blocks, dtype=np.int32).reshape(rows, blocks)
    starts = np.arange(0, rows * new + 1, new, dtype=np.int32)
    return Batch(
        tokens=np.arange(rows * new, dtype=np.int32) % 1000,
        positions=np.tile(np.arange(past, past + new, dtype=np.int32), rows).reshape(1, -1),
        row_starts=starts,
        slots=np.arange(1, rows + 1, dtype=np.int32),
        past=np.full(rows, past, np.int32),
        tables=(table,) * bench.groups,
        copies=(np.zeros((0, 2), np.int32),) * bench.groups,
        outputs=starts[1:] - 1,
    )


def greedy(rows: int) -> SamplingColumns:
    """The largest logit of every row, into the row's slot."""
    return SamplingColumns(
        slot=np.arange(1, rows + 1, dtype=np.int32),
        target=np.full(rows, -1, np.int32),
        temperature=np.zeros(rows, np.float32),
        top_k=np.zeros(rows, np.int32),
        top_p=np.ones(rows, np.float32),
        min_p=np.zeros(rows, np.float32),
        seed=np.zeros((rows, 2), np.uint32),
        position=np.zeros(rows, np.int32),
        logprobs=np.full(rows, -1, np.int32),
    )


def decode(bench: Bench, sequences: int, steps: int) -> Iterator[float]:
    """Seconds of each decoding step, sampling included."""
    batch = make_batch(bench, sequences, new=1, past=CONTEXT, room=CONTEXT + steps)
    rows, columns = np.arange(sequences, dtype=np.int32), greedy(sequences)
    for _ in range(steps):
        start = time.perf_counter()
        tokens = bench.program.run(batch).sample(rows, columns).result()
        batch.tokens[:] = tokens.ids
        batch.past += 1
        batch.positions += 1
        yield time.perf_counter() - start


def prefill(bench: Bench, chunk: int) -> float:
    """Seconds of one prompt in chunks, its first token included."""
    columns, rows = greedy(1), np.zeros(1, np.int32)
    start = time.perf_counter()
    for past in range(0, PROMPT, chunk):
        pending = bench.program.run(make_batch(bench, 1, new=chunk, past=past, room=PROMPT))
        pending.wait()
    pending.sample(rows, columns).result()
    return time.perf_counter() - start
