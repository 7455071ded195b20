"""A prompt that an earlier engine has computed: its blocks restored from disk beside computing it again.

    python ci/bench/tiers.py MODEL [--tokens 2000] [--rounds 5] [--quantization int8] [--platform cpu]

MODEL is a directory. Each round draws a prompt, computes it in one engine (time to the first token, engine in process),
closes that engine, opens another one on the same directory and sends the prompt again: its full blocks come from disk. Before
that the block files are dropped from the page cache (posix_fadvise), so that the disk is read. Times are medians;
`load` is what opening the second engine took and belongs to neither.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from dovetail.config import EngineConfig
from dovetail.engine.engine import Engine
from dovetail.engine.load import load_engine
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from dovetail.weights.checkpoint import open_checkpoint

DISK_BYTES = 4 << 30


def opened(args: argparse.Namespace, directory: str) -> Engine:
    """An engine with its tier in a directory."""
    config = EngineConfig(
        model=args.model,
        platform=args.platform,
        quantization=args.quantization,
        max_model_len=args.tokens + 64,
        kv_cache_disk=(directory, DISK_BYTES),
    )
    engine = load_engine(config, open_checkpoint(args.model, progress=False))
    assert isinstance(engine, Engine)
    return engine


def first_token_s(engine: Engine, name: str, prompt: list[int]) -> tuple[float, int]:
    """Seconds from submitting a prompt to its token, and how many of its tokens were cached."""
    params = SamplingParams(max_tokens=1, temperature=0.0)
    request = Request(id=name, prompt=prompt, sampling=params, max_tokens=1)
    started = time.perf_counter()
    engine.submit(request)
    cached, seconds = 0, 0.0
    while engine.has_work:
        for output in engine.step():
            cached = max(cached, output.cached)
            if output.tokens and not seconds:
                seconds = time.perf_counter() - started
    return seconds, cached


def forget_pages(directory: str) -> int:
    """Write the files out and drop them from the page cache; their bytes."""
    total = 0
    for path in Path(directory).glob("*/*.kv"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        total += os.fstat(descriptor).st_size
        os.close(descriptor)
    return total


def measured(args: argparse.Namespace) -> dict[str, float]:
    """One round, in seconds."""
    rng = random.Random()
    vocabulary = 1000
    prompt = [rng.randrange(vocabulary) for _ in range(args.tokens)]
    warm = [rng.randrange(vocabulary) for _ in range(args.tokens)]
    with tempfile.TemporaryDirectory(prefix="dovetail-tiers-") as directory:
        engine = opened(args, directory)
        first_token_s(engine, "warm", warm)
        computed, _ = first_token_s(engine, "computed", prompt)
        engine.close()
        size = forget_pages(directory)
        started = time.perf_counter()
        engine = opened(args, directory)
        load = time.perf_counter() - started
        while not engine.stats().blocks_disk:
            time.sleep(0.01)
        restored, cached = first_token_s(engine, "restored", prompt)
        engine.close()
    return {
        "computed": computed,
        "restored": restored,
        "ratio": computed / restored,
        "cached": cached,
        "load": load,
        "disk_mb": size / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quantization", default="int8")
    parser.add_argument("--platform", default="cpu")
    args = parser.parse_args()
    rounds = [measured(args) for _ in range(args.rounds)]
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    print(json.dumps({"tokens": args.tokens, "rounds": args.rounds, **medians}, indent=2))


if __name__ == "__main__":
    main()
