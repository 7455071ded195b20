"""Ceilings of a chip, and single kernels against them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from dovetail_sdk.gpu.emulation import INTERPRETED
from gpu_shapes import Sizes

TIMES = 20


def timed(chip: torch.device, work: Callable[[], Any], times: int = TIMES) -> float:
    """Median seconds of a call, by the device's clock where it has one."""
    for _ in range(1 if chip.type == "cpu" else 3):
        work()
    if chip.type == "cpu":
        return statistics.median(_host_s(work) for _ in range(3))
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
    chip: torch.device, tiny: bool, fp8: str | None, limits: dict[str, float] | None
) -> Iterator[dict[str, Any]]:
    """Our kernels one by one, by what each must move and compute, and the shares of a copy's and a large product's rate.

    tiny  small arrays; where the chip is the host, Triton interprets
    fp8   the kind of 8-bit float that the chip converts itself
    """
    from dovetail_sdk.triton.rates import TINY, works

    for work in works(chip, architecture_of(chip), TINY if tiny else None, fp8=fp8):
        seconds = timed(chip, work.call)
        rates = work.rate(seconds)
        found = {"kernel": work.name, "us": 1e6 * seconds, **rates}
        if limits is not None:
            found["of_copy"] = rates["bytes_per_s"] / limits["copy_bytes_per_s"]
            found["of_matmul"] = rates["operations_per_s"] / limits["matmul_per_s"]
        yield found


def architecture_of(chip: torch.device) -> str:
    """As the tuning tables call it."""
    if chip.type == "cpu":
        return INTERPRETED
    properties: Any = torch.cuda.get_device_properties(chip)
    if torch.version.hip:
        return str(properties.gcnArchName).partition(":")[0]
    return f"sm_{properties.major}{properties.minor}"
