"""Ceilings of a chip, and single ops against them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from dovetail.graph import CacheGroup, Graph, GraphBuilder
from dovetail.platform import Batch, Device, KVLayout, Shape
from dovetail.weights import random_weights
from gpu_shapes import Sizes

TIMES = 20


def timed(chip: torch.device, work: Callable[[], Any], times: int = TIMES) -> float:
    """Median seconds of a call, by the device's clock where it has one."""
    for _ in range(3):
        work()
    if chip.type == "cpu":
        return statistics.median(_host_s(work) for _ in range(min(times, 5)))
    event: Any = torch.cuda.Event
    pairs = []
    for _ in range(times):
        pair: Any = [event(enable_timing=True) for _ in range(2)]
        pair[0].record()
        work()
        pair[1].record()
        pairs.append(pair)
    torch.cuda.synchronize(chip)
    return float(statistics.median(start.elapsed_time(end) / 1000 for start, end in pairs))


def _host_s(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ceilings(chip: torch.device, sizes: Sizes) -> dict[str, float]:
    """Bytes per second that a copy reads and writes, and bf16 operations per second of a large product."""
    source = torch.empty(sizes.copy_bytes // 2, dtype=torch.uint8, device=chip)
    target = torch.empty_like(source)
    copy_s = timed(chip, lambda: target.copy_(source))
    edge = sizes.matmul
    a = torch.randn(edge, edge, dtype=torch.bfloat16, device=chip)
    b = torch.randn(edge, edge, dtype=torch.bfloat16, device=chip)
    product_s = timed(chip, lambda: a @ b)
    return {
        "copy_bytes_per_s": 2 * source.numel() / copy_s,
        "matmul_per_s": 2 * edge**3 / product_s,
    }


def kernel_rates(
    device: Device, chip: torch.device, sizes: Sizes, limits: dict[str, float] | None
) -> list[dict[str, Any]]:
    """Graphs of one op many times over: bytes per second it must move, and the share of a copy's rate."""
    width = 4096 if chip.type != "cpu" else 128
    found = []
    for rows in sizes.rows:
        for name, build in (
            ("rms_norm", norms),
            ("split_gated_activation", gates),
            ("attention", reads),
        ):
            graph, bytes_moved = build(width, rows, sizes)
            seconds = graph_s(device, chip, graph, rows, sizes)
            rate = bytes_moved / seconds
            share = None if limits is None else rate / limits["copy_bytes_per_s"]
            found.append({"op": name, "rows": rows, "bytes_per_s": rate, "of_copy": share})
    return found


LAYERS = 16
"""Times that an op is in its graph, so that what is around it does not count."""


def start_of(name: str, width: int) -> tuple[GraphBuilder, Any, Any]:
    build = GraphBuilder(name, "bf16")
    tokens, rows = build.input("tokens", ("T",)), None
    build.input("positions", (1, "T"))
    rows = build.input("outputs", ("N",))
    x = build.op("embed", tokens, weights={"table": build.weight("table", (64, width))})
    return build, x, rows


def norms(width: int, rows: int, sizes: Sizes) -> tuple[Graph, int]:
    build, x, out = start_of("norms", width)
    for layer in range(LAYERS):
        weight = build.weight(f"norm{layer}.weight", (width,))
        x = build.op("rms_norm", x, weights={"weight": weight}, eps=1e-5)
    build.output("hidden", build.op("take_rows", x, out))
    return build.build(), LAYERS * 2 * rows * width * 2


def gates(width: int, rows: int, sizes: Sizes) -> tuple[Graph, int]:
    build, x, out = start_of("gates", 2 * width)
    y = x
    for _ in range(LAYERS):
        y = build.op("split_gated_activation", x, activation="silu")
    build.output("hidden", build.op("take_rows", y, out))
    return build.build(), LAYERS * 3 * rows * width * 2


def reads(width: int, rows: int, sizes: Sizes) -> tuple[Graph, int]:
    heads, kv_heads = 32, 8
    head = width // heads if width >= 2048 else 32
    heads, kv_heads = (heads, kv_heads) if width >= 2048 else (4, 2)
    build, x, out = start_of("reads", heads * head)
    q = build.op("reshape", x, shape=(heads, head), name="q")
    halves = build.op_many("split", x, sizes=(kv_heads * head, (heads - kv_heads) * head))
    k = build.op("reshape", halves[0], shape=(kv_heads, head), name="k")
    build.cache_group(CacheGroup("full", tuple(range(LAYERS)), kv_heads, head, head))
    for layer in range(LAYERS):
        written = build.op("kv_write", k, k, layer=layer, name=f"written{layer}")
        attributes: dict[str, Any] = {"kv_heads": kv_heads, "value_width": head}
        q = build.op("attention", q, written, layer=layer, scale=head**-0.5, **attributes)
    y = build.op("reshape", q, shape=(heads * head,), name="joined")
    build.output("hidden", build.op("take_rows", y, out))
    return build.build(), LAYERS * rows * (sizes.context + 1) * 2 * kv_heads * head * 2


def graph_s(device: Device, chip: torch.device, graph: Graph, rows: int, sizes: Sizes) -> float:
    """Seconds of a step of one token per row."""
    size, width = 32, -(-(sizes.context + 1) // 32)
    model = device.load(graph, random_weights(graph))
    try:
        groups = len(graph.cache)
        model.allocate(KVLayout(size, "bf16", graph.cache), (1 + rows * width,) * groups)
        program = model.compile(Shape(rows, rows, rows, width))
        table = 1 + np.arange(rows * width, dtype=np.int32).reshape(rows, width)
        batch = Batch(
            tokens=np.arange(rows, dtype=np.int32) % 64,
            positions=np.full((1, rows), sizes.context, np.int32),
            row_starts=np.arange(rows + 1, dtype=np.int32),
            slots=np.arange(1, rows + 1, dtype=np.int32),
            past=np.full(rows, sizes.context if groups else 0, np.int32),
            tables=(table,) * groups,
            copies=(np.zeros((0, 2), np.int32),) * groups,
            outputs=np.arange(rows, dtype=np.int32),
        )
        return timed(chip, lambda: program.run(batch))
    finally:
        model.close()
