"""Decoding beside busy neighbours: mean milliseconds per step with 0, 1, 2, ... busy loops on the same cores.

    python ci/bench/neighbours.py [--weights int8] [--layers 24] [--steps 40] [--rows 1]

The shape is Qwen2.5-0.5B's with random weights. "dovetail" is the CPU platform as it is: threads that the system may
move, that take work from each other, and that sleep when they wait. "openvino" is the same model run by OpenVINO,
"pinned" with its threads bound to one core each. A fair share of two cores between one stream and n busy loops would take
a step (2 + n) / 2 times as long, so a ratio near that is in proportion; a ratio far beyond it is a collapse: threads wait
for one that does not run.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from unittest import mock

from bare import Bench, decode, load, make_graph
from dovetail.platform import Device
from dovetail.plugins import open_device, select
from dovetail_cpu import model as cpu_model
from dovetail_cpu.settings import compile_settings

BUSY = "while True: pass"


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that do nothing, all the time."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def pinned(*arguments: object) -> dict[str, str | int | bool]:
    """The platform's settings with threads bound to cores."""
    return {**compile_settings(*arguments), "ENABLE_CPU_PINNING": True}  # type: ignore[arg-type]


def measure(bench: Bench, rows: int, steps: int) -> tuple[float, float]:
    """Mean and slowest step, in milliseconds."""
    taken = [second * 1e3 for second in itertools.islice(decode(bench, rows, steps + 3), 3, None)]
    return statistics.fmean(taken), max(taken)


def loaded(device: Device, given: argparse.Namespace, name: str) -> Bench:
    graph = make_graph(device, given.layers, None, given.weights)
    if name != "pinned":
        return load(device, graph, given.rows)
    with mock.patch.object(cpu_model, "compile_settings", pinned):
        return load(device, graph, given.rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", default="int8", choices=("int8", "int4"))
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rows", type=int, default=1)
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{'':10}{'neighbours':>11}{'mean ms':>11}{'slowest ms':>12}{'ratio':>7}{'fair':>6}")
    for name, kernels in (("dovetail", "auto"), ("openvino", "openvino"), ("pinned", "openvino")):
        device = open_device(select("cpu"), {"kernels": kernels})
        bench = loaded(device, given, name)
        alone = 0.0
        for count in range(cores + 2):
            with neighbours(count):
                mean, slowest = measure(bench, given.rows, given.steps)
            alone = alone or mean
            fair = (cores + count) / cores
            print(
                f"{name:10}{count:>11}{mean:>11.1f}{slowest:>12.1f}{mean / alone:>7.2f}{fair:>6.2f}"
            )
        bench.model.close()
        device.close()


if __name__ == "__main__":
    main()
