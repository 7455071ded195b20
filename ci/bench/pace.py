"""Prompts beside running streams: a closed loop of clients on one loaded model, with fixed steps and with paced ones.

    python ci/bench/pace.py [--clients 32] [--requests 64] [--prompt 256] [--output 64] [--target-ms 350] [--layers 24]

Random weights in the shape of Qwen2.5-0.5B, int8, in process. Each client sends its next request when the one before is
done. Per setting: output tokens per second, milliseconds to the first token and between the tokens of a stream.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from bare import BLOCK_SIZE, Bench, load, make_graph
from dovetail.engine.engine import Engine
from dovetail.plugins import select
from dovetail.scheduler import Pace, Scheduler
from overhead import make_engine, request

STEP = 2048
VOCABULARY = 151_936


@dataclass(slots=True)
class Loop:
    """What clients saw: seconds to first tokens, and between tokens."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0


def paced_engine(bench: Bench, clients: int, step: int, target_s: float) -> Engine:
    """An engine with steps of at most so many tokens; no target where target_s is 0."""
    engine = make_engine(bench, clients, VOCABULARY, step)
    engine._scheduler = Scheduler(
        num_blocks=bench.num_blocks,
        block_size=BLOCK_SIZE,
        max_num_seqs=clients,
        max_num_batched_tokens=step,
        max_model_len=engine.info.max_model_len,
        prefix_caching=False,
        pace=Pace(target_s) if target_s else None,
    )
    return engine


def closed_loop(engine: Engine, clients: int, requests: int, prompt: int, output: int) -> Loop:
    """Run all requests, `clients` at a time."""
    rng = np.random.default_rng(0)
    waiting = [request(str(number), prompt, output, rng) for number in range(requests)]
    seen: dict[str, float] = {}
    found, ended, started = Loop(), 0, time.perf_counter()
    sent: dict[str, float] = {}

    def send() -> None:
        if waiting:
            asked = waiting.pop()
            sent[asked.id] = time.perf_counter()
            engine.submit(asked)

    for _ in range(clients):
        send()
    while ended < requests:
        outputs = engine.step()
        now = time.perf_counter()
        for one in outputs:
            name = one.request_id
            before = seen.get(name)
            if before is None:
                found.first.append(now - sent[name])
            else:
                found.between.append(now - before)
            seen[name] = now
            found.tokens += len(one.tokens)
            if one.finish is not None:
                ended += 1
                send()
    found.seconds = time.perf_counter() - started
    return found


def line(name: str, found: Loop) -> str:
    def ms(values: Sequence[float], share: float) -> str:
        return f"{np.quantile(values, share) * 1e3:9.0f}"

    cells = [ms(found.first, 0.5), ms(found.first, 0.99)]
    cells += [ms(found.between, share) for share in (0.5, 0.9, 0.99, 1)]
    return f"{name:28}{found.tokens / found.seconds:9.1f}" + "".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--target-ms", type=float, default=350)
    parser.add_argument("--layers", type=int, default=24)
    given = parser.parse_args()
    chosen = select("cpu")
    device = chosen.platform.open(chosen.devices)
    bench = load(device, make_graph(device, given.layers, None, "int8"), given.clients)
    titles = ("tokens/s", "first p50", "p99", "next p50", "p90", "p99", "most")
    print(f"{'':28}" + "".join(f"{title:>9}" for title in titles))
    for name, step, target_ms in (
        ("fixed steps of 512", 512, 0.0),
        ("fixed steps of 2,048", STEP, 0.0),
        (f"paced, {given.target_ms:.0f} ms", STEP, given.target_ms),
    ):
        engine = paced_engine(bench, given.clients, step, target_ms / 1e3)
        found = closed_loop(engine, given.clients, given.requests, given.prompt, given.output)
        print(line(name, found), flush=True)
    bench.model.close()
    device.close()


if __name__ == "__main__":
    main()
