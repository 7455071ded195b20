"""Every OpenCL kernel of the xpu platform beside NumPy and the machine's roofline, in the shape of Qwen2.5-0.5B.

python ci/bench/opencl_kernels.py pocl
python ci/bench/opencl_kernels.py intel-cpu --only attention

The roofline of a CPU: the larger of bytes over the bandwidth that np.copyto reaches and flops over what np.matmul in f32
reaches, both measured here on all cores. Kernel times are the device's own, the least of several; rows 1 is a decoding
step, rows 64 part of a prompt.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from dovetail.graph import CacheGroup
from dovetail.platform import F32, KVLayout
from dovetail_sdk.opencl import Machine, OpenclBackend, Programs, cache_folder, find
from dovetail_sdk.reference.ops import OPS
from dovetail_sdk.runner import NUMPY_TYPES, Kernel, PagedCache, Step
from dovetail_xpu.kernels import kernels
from dovetail_xpu.kernels.linear import Packed, blocks
from dovetail_xpu.select import Variant, choose
from numpy.typing import NDArray

HEADS, KV_HEADS, WIDTH, MODEL, INNER = 14, 2, 64, 896, 4864
CONTEXT, BLOCK = 1024, 32
TIMES = 7


def least(call: Callable[[], object], times: int = TIMES) -> float:
    """Seconds of the fastest call."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def roofline() -> tuple[float, float]:
    """Bytes and f32 flops per second of this machine."""
    source, target = np.ones(1 << 26, np.float32), np.empty(1 << 26, np.float32)
    moved = 2 * source.nbytes / least(lambda: np.copyto(target, source))
    a = np.ones((1536, 1536), np.float32)
    return moved, 2 * 1536**3 / least(lambda: a @ a)


class Table:
    """Lines of the report; those whose name `only` is not found in are left out."""

    def __init__(self, machine: Machine, limits: tuple[float, float], only: str) -> None:
        self._machine, self._limits, self._only = machine, limits, re.compile(only)
        print(
            "kernel                        rows      ms   NumPy ms   GB/s  GFLOP/s  of the roofline"
        )

    def add(
        self,
        name: str,
        rows: int,
        call: Callable[[], object],
        numpy: Callable[[], object],
        *,
        moved: float,
        flops: float,
    ) -> None:
        """Time both; `moved` is what must be read and written."""
        if not self._only.search(name):
            return
        self._machine.times()
        taken = float("inf")
        for _ in range(TIMES):
            call()
            taken = min(taken, sum(seconds for _, _, seconds in self._machine.times()))
        best = max(moved / self._limits[0], flops / self._limits[1])
        print(
            f"{name:28} {rows:5} {1e3 * taken:8.3f} {1e3 * least(numpy, 3):9.3f} {moved / taken / 1e9:7.1f}"
            f" {flops / taken / 1e9:8.1f} {best / taken:8.0%}",
            flush=True,
        )


@dataclass(frozen=True, slots=True)
class Bench:
    """The kernels of one device, and where their times are written down."""

    backend: OpenclBackend
    variant: Variant
    kernel: Mapping[str, Kernel]
    table: Table


def weight(backend: OpenclBackend, data: NDArray[Any], kind: str, *, lane: bool) -> Packed:
    """A weight as the launcher packs it."""
    scale = backend.upload(np.ones(len(data), np.float32))
    laid = backend.upload(blocks(data, lane=lane))
    return Packed(kind, laid, scale, backend.nothing, 1, len(data))


def paged(
    backend: OpenclBackend, rows: int, new: int
) -> tuple[PagedCache, Step, Callable[[], object]]:
    """A cache of rows that have CONTEXT tokens with the new ones, and the same attention in NumPy."""
    per_row = CONTEXT // BLOCK
    group = CacheGroup("all", (0,), KV_HEADS, WIDTH, WIDTH)
    cache = PagedCache(backend, KVLayout(BLOCK, "f32", (group,)), (1 + rows * per_row,))
    table = 1 + np.arange(rows * per_row, dtype=np.int32).reshape(rows, per_row)
    starts = np.arange(0, rows * new + 1, new, dtype=np.int32)
    step = Step(starts, np.full(rows, CONTEXT - new, np.int32), (table,), BLOCK)
    q: F32 = np.ones((KV_HEADS, HEADS // KV_HEADS * new, WIDTH), np.float32)
    keys: F32 = np.ones((KV_HEADS, CONTEXT, WIDTH), np.float32)

    def numpy() -> None:
        for _ in range(rows):
            scores = np.exp(q @ keys.swapaxes(1, 2))
            (scores / scores.sum(axis=-1, keepdims=True)) @ keys

    return cache, step, numpy


def products(bench: Bench, rows: int) -> None:
    """The gate and up product in every form of weight."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, MODEL), np.float32)
    given, lane = bench.backend.upload(x), bench.variant.lane
    for kind in ("f32", "bf16", "f16", "i8"):
        dtype = np.dtype(np.int8) if kind == "i8" else NUMPY_TYPES[kind]
        data = rng.integers(-9, 9, (2 * INNER, MODEL)).astype(dtype)
        packed = weight(bench.backend, data, kind, lane=lane)
        plain = data.astype(np.float32)
        bench.table.add(
            f"linear {kind}",
            rows,
            partial(bench.kernel["linear"].call, given, weight=packed),
            partial(np.matmul, x, plain.T),
            moved=data.nbytes + x.nbytes + 8 * rows * INNER,
            flops=2.0 * rows * data.size,
        )


def lines(bench: Bench, rows: int) -> None:
    """What is done with each line by itself: the norm and the gate."""
    rng, ones = np.random.default_rng(0), np.ones(MODEL, np.float32)
    x, wide = (rng.standard_normal((rows, width), np.float32) for width in (MODEL, 2 * INNER))
    narrow, broad, norm = (bench.backend.upload(array) for array in (x, wide, ones))
    bench.table.add(
        "add_rms_norm",
        rows,
        partial(bench.kernel["add_rms_norm"].call, narrow, narrow, weight=norm, eps=1e-6),
        partial(OPS["add_rms_norm"], x, x, weight=ones, eps=1e-6),
        moved=4 * x.nbytes,
        flops=5 * x.size,
    )
    bench.table.add(
        "split_gated_activation",
        rows,
        partial(bench.kernel["split_gated_activation"].call, broad, activation="silu"),
        partial(OPS["split_gated_activation"], wide, activation="silu"),
        moved=1.5 * wide.nbytes,
        flops=5 * wide.size,
    )


def attention(bench: Bench, name: str, sequences: int, new: int) -> None:
    """Rows of `new` tokens each, at the end of their contexts."""
    cache, step, numpy = paged(bench.backend, sequences, new)
    rows = sequences * new
    q = bench.backend.upload(np.ones((rows, HEADS, WIDTH), np.float32))
    call = partial(
        bench.kernel["attention"].call,
        *(q, None),
        cache=cache.layer(0),
        step=step,
        scale=0.1,
        kv_heads=KV_HEADS,
        value_width=WIDTH,
    )
    bench.table.add(
        name,
        rows,
        call,
        numpy,
        moved=8.0 * sequences * CONTEXT * KV_HEADS * WIDTH,
        flops=4.0 * rows * CONTEXT * HEADS * WIDTH,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device", help="as after the colon of --platform xpu:")
    parser.add_argument("--only", default="", help="kernels in whose names this is found")
    given = parser.parse_args()
    found = next(one for one in find() if one.id == given.device)
    machine = Machine(found, profiling=True)
    backend = OpenclBackend(machine, Programs(machine, cache_folder()))
    variant = choose(found, machine.units)
    table = Table(machine, roofline(), given.only)
    bench = Bench(backend, variant, kernels(backend, variant), table)
    for rows in (1, 64):
        products(bench, rows)
        lines(bench, rows)
    attention(bench, "attention", 1, 1)
    attention(bench, "attention, one prompt", 1, 64)
    attention(bench, "attention, 64 sequences", 64, 1)


if __name__ == "__main__":
    main()
