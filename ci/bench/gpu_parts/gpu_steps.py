"""Steps of a whole model with random weights, driven through the contract two at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
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
from dovetail.weights.source import weight_bytes
from gpu_shapes import Sizes
from torch._C._autograd import DeviceType

BLOCK = 32
WARM = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to be driven.

    matrix_bytes   of the weights that every step reads
    products       numbers in the matrices that every token is multiplied by
    token_bytes    of cache per token
    """

    model: LoadedModel
    program: Program
    graph: Graph
    load_s: float
    compile_s: float
    matrix_bytes: int
    products: int
    token_bytes: float

    def describe(self) -> dict[str, Any]:
        """For the report."""
        return {
            "load_s": round(self.load_s, 2),
            "compile_s": round(self.compile_s, 2),
            "matrix_bytes": self.matrix_bytes,
            "cache_bytes_per_token": self.token_bytes,
        }


def load_shape(device: Device, config: dict[str, Any], form: str, sizes: Sizes) -> Loaded:
    """Random weights, a cache for the most rows measured, a program for every step measured."""
    able = device.capabilities
    graph = models.build(config, dtype="bf16", max_model_len=sizes.model_len)
    forms = choose_forms(
        graph,
        None,
        quantization=None if form == "bf16" else form,
        accepted=able.weight_forms,
        compute_dtype="bf16",
    ).forms
    graph = passes.prepare(
        with_forms(graph, forms),
        ops=able.ops,
        fused=able.fused_ops,
        rewrites=able.rewrites,
        supports=device.supports,
    ).graph
    started = time.perf_counter()
    model = device.load(graph, random_weights(graph))
    loaded = time.perf_counter()
    room = sizes.context + sizes.steps + WARM + 8
    blocks = max(max(sizes.rows) * -(-room // BLOCK), -(-max(sizes.prompts) // BLOCK)) + 1
    layout = KVLayout(BLOCK, "bf16", graph.cache)
    model.allocate(layout, (blocks,) * len(graph.cache))
    most = max(*sizes.prompts, *sizes.rows)
    program = model.compile(Shape(most, max(sizes.rows), max(sizes.rows), -(-most // BLOCK) + 1))
    linears = {node.weights["weight"] for node in graph.nodes if node.op == "linear"}
    weights = [graph.weights[name] for name in linears]
    return Loaded(
        model,
        program,
        graph,
        loaded - started,
        time.perf_counter() - loaded,
        sum(weight_bytes(weight) for weight in weights),
        sum(int(np.prod(weight.shape)) for weight in weights),
        sum(model.block_bytes(layout)) / BLOCK,
    )


def batch_of(loaded: Loaded, rows: int, new: int, past: int, room: int) -> Batch:
    """Rows of `new` tokens after `past`, with blocks of their own for `room` tokens each."""
    blocks, groups = -(-room // BLOCK), len(loaded.graph.cache)
    starts = np.arange(0, rows * new + 1, new, dtype=np.int32)
    return Batch(
        tokens=np.arange(rows * new, dtype=np.int32) % 300,
        positions=np.tile(np.arange(past, past + new, dtype=np.int32), rows)[None],
        row_starts=starts,
        slots=np.arange(1, rows + 1, dtype=np.int32),
        past=np.full(rows, past, np.int32),
        tables=(1 + np.arange(rows * blocks, dtype=np.int32).reshape(rows, blocks),) * groups,
        copies=(np.zeros((0, 2), np.int32),) * groups,
        outputs=starts[1:] - 1,
    )


def greedy(rows: int) -> SamplingColumns:
    """The largest logit of every row, into the row's slot."""
    zeros = np.zeros(rows, np.int32)
    return SamplingColumns(
        slot=np.arange(1, rows + 1, dtype=np.int32),
        target=zeros - 1,
        temperature=np.zeros(rows, np.float32),
        top_k=zeros,
        top_p=np.ones(rows, np.float32),
        min_p=np.zeros(rows, np.float32),
        seed=np.zeros((rows, 2), np.uint32),
        position=zeros,
        logprobs=zeros - 1,
    )


def run_steps(loaded: Loaded, rows: int, sizes: Sizes, steps: int) -> float:
    """Seconds per decoding step, two in flight, sampling and its result included."""
    batch = batch_of(loaded, rows, 1, sizes.context, sizes.context + sizes.steps + WARM + 8)
    chosen, columns = np.arange(rows, dtype=np.int32), greedy(rows)
    waiting: list[Any] = []
    started = 0.0
    for step in range(WARM + steps):
        if step == WARM:
            while waiting:
                waiting.pop(0).result()
            started = time.perf_counter()
        waiting.append(loaded.program.run(batch).sample(chosen, columns))
        batch.tokens[:] = ~batch.slots
        batch.past += 1
        batch.positions += 1
        if len(waiting) == 2:
            waiting.pop(0).result()
    while waiting:
        waiting.pop(0).result()
    return (time.perf_counter() - started) / steps


def measure_decode(
    loaded: Loaded, sizes: Sizes, limits: dict[str, float] | None
) -> list[dict[str, Any]]:
    """Step times by rows, and the share of a copy's rate at which weights and cache are read."""
    found = []
    for rows in sizes.rows:
        step_s = run_steps(loaded, rows, sizes, sizes.steps)
        context = sizes.context + WARM + sizes.steps / 2
        moved = loaded.matrix_bytes + rows * context * loaded.token_bytes
        share = None if limits is None else moved / step_s / limits["copy_bytes_per_s"]
        found.append(
            {
                "rows": rows,
                "step_ms": 1000 * step_s,
                "tokens_per_s": rows / step_s,
                "bytes": int(moved),
                "of_copy": share,
            }
        )
    return found


def measure_prefill(
    loaded: Loaded, sizes: Sizes, limits: dict[str, float] | None
) -> list[dict[str, Any]]:
    """Times of one prompt in one step, and the share of a large product's rate."""
    found = []
    for tokens in sizes.prompts:
        batch, times = batch_of(loaded, 1, tokens, 0, tokens), []
        for _ in range(4):
            started = time.perf_counter()
            loaded.program.run(batch).sample(np.zeros(1, np.int32), greedy(1)).result()
            times.append(time.perf_counter() - started)
        prompt_s = sorted(times[1:])[1]
        operations = 2 * loaded.products * tokens + attention_operations(loaded.graph, tokens)
        share = None if limits is None else operations / prompt_s / limits["matmul_per_s"]
        found.append({"tokens": tokens, "ms": 1000 * prompt_s, "of_matmul": share})
    return found


def attention_operations(graph: Graph, tokens: int) -> float:
    """Multiplications and additions of causal attention over a prompt; half of the square is seen."""
    total = 0.0
    for node in graph.nodes:
        if node.op in ("attention", "attention_write"):
            heads, width = (int(length) for length in graph.values[node.inputs[0]].shape[1:])
            total += 2.0 * tokens * tokens * heads * width
    return total


def idle_share(loaded: Loaded, chip: torch.device, sizes: Sizes) -> Any:
    """The share of time between the first and the last of some decoding steps in which the device did nothing, by rows."""
    if chip.type == "cpu":
        return {"unsupported": "a host has no times of its own for kernels"}
    found = []
    activities = [torch.profiler.ProfilerActivity.CUDA]
    for rows in sizes.rows:
        with torch.profiler.profile(activities=activities) as profile:
            run_steps(loaded, rows, sizes, 20)
        spans = sorted(
            (event.time_range.start, event.time_range.end)
            for event in profile.events()
            if event.device_type == DeviceType.CUDA
        )
        found.append({"rows": rows, "idle": gaps(spans)})
    return found


def gaps(spans: list[tuple[float, float]]) -> float | None:
    """The share of the time from the first start to the last end that no span covers."""
    if not spans:
        return None
    covered, reached = 0.0, spans[0][0]
    for start, end in spans:
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return 1 - covered / (reached - spans[0][0])
