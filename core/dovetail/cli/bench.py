"""dovetail bench: a small closed-loop load generator."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dovetail.config import EngineConfig

from .options import API_KEY
from .parser import Parser, add_engine, add_model, typed
from .settings import Settings
from .sources import Source, open_source
from .values import between

MAX_LOAD = 1 << 20  # tokens, clients and requests alike


@dataclass(slots=True)
class Record:
    """Times of one request, in seconds since the start of the run."""

    start: float
    arrivals: list[tuple[float, int]] = field(default_factory=list)

    @property
    def first_s(self) -> float:
        """From sending to the first token."""
        return self.arrivals[0][0] - self.start

    @property
    def gaps_s(self) -> list[float]:
        """From token to token; those that came together share the time."""
        gaps: list[float] = []
        for (before, _), (now, count) in zip(self.arrivals, self.arrivals[1:], strict=False):
            gaps += [(now - before) / count] * count
        return gaps


def add_arguments(parser: Parser) -> None:
    """MODEL or URL, the load, and the engine."""
    add_model(
        parser, positional=True, text="directory, hub id, demo (the default), or a server's URL"
    )
    number = typed(between(1, MAX_LOAD))
    group = parser.add_argument_group("load")
    group.add_argument("--prompt-len", type=number, default=128, metavar="N", help="tokens (128)")
    group.add_argument("--output-len", type=number, default=64, metavar="N", help="tokens (64)")
    group.add_argument("--concurrency", type=number, default=8, metavar="N", help="clients (8)")
    group.add_argument("--requests", type=number, default=32, metavar="N", help="in all (32)")
    group.add_argument(
        "--api-key", type=typed(API_KEY.parse), action="append", metavar="KEY", help="for a server"
    )
    group.add_argument("--json", action="store_true", help="as JSON")
    add_engine(parser)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Run the load and print what was measured."""
    key = next(iter(settings.server.api_key), None)
    result = asyncio.run(_bench(given, settings.engine, key))
    if given.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value:.3f}" if isinstance(value, float) else f"{name:24} {value}")
    return 0


async def _bench(
    given: argparse.Namespace, config: EngineConfig, key: str | None
) -> dict[str, Any]:
    source = await open_source(config.model, config, api_key=key)
    try:
        draw = random.Random(config.seed or 0)
        prompts = [
            [
                draw.randrange(min(10, source.vocab_size - 1), source.vocab_size)
                for _ in range(given.prompt_len)
            ]
            for _ in range(given.requests)
        ]
        await _one(source, prompts[0][:8], 2)  # what a first request alone pays for
        started = time.perf_counter()
        records = await _load(source, prompts, given.output_len, given.concurrency)
        elapsed = time.perf_counter() - started
    finally:
        await source.close()
    return {
        "model": source.name,
        "prompt_len": given.prompt_len,
        "output_len": given.output_len,
        "concurrency": given.concurrency,
        "requests": given.requests,
        **summary(records, elapsed, given.prompt_len),
    }


async def _load(
    source: Source, prompts: Sequence[Sequence[int]], output_len: int, concurrency: int
) -> list[Record]:
    """Every client takes the next prompt as soon as it has its reply."""
    records: list[Record] = []
    left = iter(prompts)

    async def client() -> None:
        for prompt in left:
            records.append(await _one(source, prompt, output_len))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(prompts))):
                group.create_task(client())
    except ExceptionGroup as failed:  # one reason is enough: the others were ended because of it
        raise failed.exceptions[0] from failed
    return records


async def _one(source: Source, prompt: Sequence[int], output_len: int) -> Record:
    record = Record(time.perf_counter())
    async for count in source.tokens(prompt, output_len):
        if count:
            record.arrivals.append((time.perf_counter(), count))
    return record


def summary(records: Sequence[Record], elapsed_s: float, prompt_len: int) -> dict[str, Any]:
    """Throughput, and percentiles of the waiting times in milliseconds."""
    generated = sum(count for record in records for _, count in record.arrivals)
    first = [record.first_s * 1e3 for record in records if record.arrivals]
    gaps = [gap * 1e3 for record in records for gap in record.gaps_s]
    result: dict[str, Any] = {
        "elapsed_s": elapsed_s,
        "output_tokens_per_s": generated / elapsed_s,
        "prompt_tokens_per_s": len(records) * prompt_len / elapsed_s,
        "requests_per_s": len(records) / elapsed_s,
    }
    for name, values in (("first_token_ms", first), ("inter_token_ms", gaps)):
        for share in (50, 90, 99):
            result[f"{name}_p{share}"] = percentile(values, share)
    return result


def percentile(values: Sequence[float], share: float) -> float:
    """By nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] if ordered else 0.0
