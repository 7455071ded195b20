"""What the engine costs over the compiled model alone: both driven in turn, step by step, in one run.

    python ci/bench/overhead.py [--platform cpu] [--option precision=fast] [--weights int8] [--dtype bf16] [--steps 40] [--layers 24]

The same loaded model is driven by the bare loop of bare.py and by the whole engine (scheduler, pack, sampling,
commit, outputs). A step of one follows a step of the other, so that a noisy neighbour hits both; the ratio is of the
medians, bare over engine: 0.92 means that the engine reaches 92 % of the bare loop's speed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import numpy as np
from bare import BLOCK_SIZE, CONTEXT, DECODED, PROMPT, Bench, decode, load, make_graph, prefill
from dovetail.engine.client import EngineInfo
from dovetail.engine.engine import Engine
from dovetail.plugins import open_device, select
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from dovetail.scheduler import Scheduler

CHUNK = 512


def make_engine(bench: Bench, sequences: int, vocab_size: int, chunk: int) -> Engine:
    """An engine over an already loaded model; it uses all of the model's blocks, as the bare loop does."""
    context = PROMPT + CONTEXT
    scheduler = Scheduler(
        num_blocks=bench.num_blocks,
        block_size=BLOCK_SIZE,
        max_num_seqs=sequences,
        max_num_batched_tokens=chunk,
        max_model_len=context,
        prefix_caching=False,
    )
    info = EngineInfo(
        model="bench",
        platform="",
        device="",
        dtype="",
        weights="",
        cache_form="",
        vocab_size=vocab_size,
        max_model_len=context,
        max_num_seqs=sequences,
        max_num_batched_tokens=chunk,
        block_size=BLOCK_SIZE,
        num_blocks=bench.num_blocks - 1,
    )
    return Engine(bench.program, scheduler, info, cache_groups=bench.groups)


def request(name: str, length: int, max_tokens: int, rng: np.random.Generator) -> Request:
    sampling = SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True)
    prompt = rng.integers(300, 31_000, length).tolist()
    return Request(id=name, prompt=prompt, sampling=sampling, max_tokens=max_tokens)


def engine_decode(bench: Bench, vocab_size: int, sequences: int, steps: int) -> Iterator[float]:
    """Seconds of each step of the engine once all its sequences decode."""
    engine = make_engine(bench, sequences, vocab_size, CHUNK)
    rng = np.random.default_rng(sequences)
    # Sequences whose prompts end early decode while the others' are computed: half of that is taken off the prompts, so
    # that the context is the bare loop's on average.
    spare = sequences * CONTEXT // CHUNK + 2
    length = CONTEXT - spare // 2
    for number in range(sequences):
        engine.submit(request(str(number), length, steps + spare, rng))
    while sum(len(output.tokens) for output in engine.step()) < sequences:
        pass
    for _ in range(steps):
        start = time.perf_counter()
        outputs = engine.step()
        assert len(outputs) == sequences
        yield time.perf_counter() - start
    engine.cancel_all()
    while engine.has_work:
        engine.step()


def engine_prefill(bench: Bench, vocab_size: int, chunk: int, seed: int) -> float:
    """Seconds of one prompt through the engine, its first token included."""
    engine = make_engine(bench, 1, vocab_size, chunk)
    asked = request("prompt", PROMPT, 1, np.random.default_rng(seed))
    start = time.perf_counter()
    engine.submit(asked)
    while engine.has_work:
        engine.step()
    return time.perf_counter() - start


def compare(
    bench: Bench, vocab_size: int, steps: int, repeat: int
) -> Iterator[tuple[str, float, float]]:
    """Name, and the median seconds of the bare loop and of the engine."""
    for sequences in DECODED:
        pairs = list(
            zip(
                decode(bench, sequences, steps),
                engine_decode(bench, vocab_size, sequences, steps),
                strict=True,
            )
        )[2:]
        yield (
            f"decode {sequences}",
            *(statistics.median(column) for column in zip(*pairs, strict=True)),
        )
    for chunk in (CHUNK, PROMPT):
        pairs = [
            (prefill(bench, chunk), engine_prefill(bench, vocab_size, chunk, seed))
            for seed in range(repeat)
        ]
        yield (
            f"prefill {PROMPT} by {chunk}",
            *(statistics.median(column) for column in zip(*pairs, strict=True)),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--platform", default="cpu")
    parser.add_argument("--option", action="append", default=[], help="of the platform, name=value")
    parser.add_argument("--weights", default="int8", choices=("none", "int8", "int4"))
    parser.add_argument("--dtype", default=None, choices=("f32", "bf16", "f16"))
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    options = dict(option.split("=", 1) for option in given.option)
    device = open_device(select(given.platform), options)
    weights = None if given.weights == "none" else given.weights
    graph = make_graph(device, given.layers, given.dtype, weights)
    bench = load(device, graph, max(DECODED))
    vocab_size = next(weight.shape[0] for name, weight in graph.weights.items() if "embed" in name)
    print(
        f"{graph.dtype} {given.weights} {options or ''}, {given.layers} layers; milliseconds, medians"
    )
    print(f"{'':24} {'bare':>10} {'engine':>10} {'ratio':>8}")
    for name, bare, engine in compare(bench, vocab_size, given.steps, given.repeat):
        print(f"{name:24} {bare * 1e3:10.2f} {engine * 1e3:10.2f} {bare / engine:8.3f}", flush=True)
    bench.model.close()
    device.close()


if __name__ == "__main__":
    main()
