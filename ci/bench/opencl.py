"""OpenCL devices beside the CPU platform: decoding in the shape of Qwen2.5-0.5B, all devices in turns in one run.

python ci/bench/opencl.py --weights int8 --device xpu:pocl --device cpu --device cpu,kernels=openvino
python ci/bench/opencl.py --device xpu:intel-cpu --profile

A device is what --platform takes, then options of its own. The first is compared with the others by the median of the ratios
of each round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field

import bare
import numpy as np
from dovetail.platform import KVLayout, Shape
from dovetail.plugins import open_device, select
from dovetail.weights import random_weights
from forms import RandomForms


@dataclass(slots=True)
class Contestant:
    """A loaded device and its times, milliseconds per step."""

    name: str
    bench: bare.Bench
    close: list[object] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    prompts: list[float] = field(default_factory=list)


def contestant(spec: str, given: argparse.Namespace) -> Contestant:
    """Open and load one."""
    name, *pairs = spec.split(",")
    options = dict(pair.split("=", 1) for pair in pairs)
    if given.profile and name.startswith("xpu"):
        options["profile"] = "on"
    device = open_device(select(name), options)
    graph = bare.make_graph(device, given.layers, given.dtype, given.weights)
    dense = bare.make_graph(device, given.layers, given.dtype, None)
    source = RandomForms(graph, dense) if given.weights else random_weights(graph)
    able = device.capabilities
    form = next(
        f for f in able.cache_forms if not f.compute_dtypes or graph.dtype in f.compute_dtypes
    )
    model = device.load(graph, source)
    blocks = -(-(bare.CONTEXT + 512) // bare.BLOCK_SIZE)
    count = 1 + given.rows * blocks
    layout = KVLayout(bare.BLOCK_SIZE, form.name, graph.cache)
    model.allocate(layout, (count,) * len(graph.cache))
    shape = Shape(tokens=256, rows=given.rows, outputs=given.rows, blocks=blocks)
    bench = bare.Bench(model, model.compile(shape), len(graph.cache), count)
    return Contestant(spec, bench, [model, device])


def measure(all_of_them: list[Contestant], given: argparse.Namespace) -> None:
    """Rounds of decoding, and of one prompt of 256 tokens, everyone in turn."""
    for number in range(given.rounds + 1):
        for one in all_of_them:
            times = list(bare.decode(one.bench, given.rows, given.steps))
            started = time.perf_counter()
            batch = bare.make_batch(one.bench, 1, new=256, past=0, room=256)
            one.bench.program.run(batch).sample(np.zeros(1, np.int32), bare.greedy(1)).result()
            prompt = time.perf_counter() - started
            if number:  # the first round warms up
                one.steps.append(1e3 * statistics.median(times))
                one.prompts.append(1e3 * prompt)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", action="append", required=True)
    parser.add_argument("--weights", default=None, help="as --quantization; dense if left out")
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    found = [contestant(spec, given) for spec in given.device]
    measure(found, given)
    first = found[0]
    print("device                          ms/step   prompt of 256, ms   speed of the first to it")
    for one in found:
        ratio = statistics.median(b / a for a, b in zip(first.steps, one.steps, strict=True))
        fast = statistics.median(b / a for a, b in zip(first.prompts, one.prompts, strict=True))
        print(
            f"{one.name:30} {statistics.median(one.steps):8.2f} {statistics.median(one.prompts):12.1f}"
            f"      {ratio:.2f} decoding, {fast:.2f} prompt"
        )
    for one in found:
        for thing in one.close:
            thing.close()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
