"""The workloads, the same for every server: who asks for what, when.

Prompts are ids drawn uniformly, so that a prefix cache finds only what a workload means it to find. Lengths are exact,
decoding is greedy and never ends early.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from client import Reply

IDS = range(300, 31_000)
WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "for",
    "it",
    "as",
    "was",
    "with",
    "be",
    "by",
    "on",
    "not",
    "this",
    "are",
    "or",
    "from",
    "at",
    "which",
    "but",
    "have",
    "an",
    "they",
    "you",
]


class Asker(Protocol):
    """What a workload asks: an HTTP client, or an engine in this process."""

    async def complete(self, prompt: list[int] | str, tokens: int) -> Reply: ...

    async def chat(self, messages: list[dict[str, str]], tokens: int) -> Reply: ...


@dataclass(frozen=True, slots=True)
class Workload:
    """name, and what it sends: `run(asker, rng)` returns the replies."""

    name: str
    run: Callable[[Asker, random.Random], Awaitable[list[Reply]]]


def ids(rng: random.Random, count: int) -> list[int]:
    return [rng.randrange(IDS.start, IDS.stop) for _ in range(count)]


def words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(count))


async def closed(
    asker: Asker, prompts: Iterable[list[int] | str], tokens: int, clients: int
) -> list[Reply]:
    """A closed loop: each client asks again as soon as it has its answer."""
    queue, replies = iter(prompts), []

    async def client() -> None:
        for prompt in queue:
            replies.append(await asker.complete(prompt, tokens))

    await asyncio.gather(*(client() for _ in range(clients)))
    return replies


def independent(name: str, requests: int, clients: int, prompt: int, tokens: int) -> Workload:
    """Requests that share nothing."""

    async def run(asker: Asker, rng: random.Random) -> list[Reply]:
        prompts = [ids(rng, prompt) for _ in range(requests)]
        return await closed(asker, prompts, tokens, clients)

    return Workload(name, run)


def texts(name: str, requests: int, clients: int, prompt: int, tokens: int) -> Workload:
    """Requests in words: the server tokenizes."""

    async def run(asker: Asker, rng: random.Random) -> list[Reply]:
        prompts = [words(rng, prompt) for _ in range(requests)]
        return await closed(asker, prompts, tokens, clients)

    return Workload(name, run)


def shared(name: str, requests: int, clients: int, prefix: int, own: int, tokens: int) -> Workload:
    """Requests that begin alike."""

    async def run(asker: Asker, rng: random.Random) -> list[Reply]:
        common = ids(rng, prefix)
        prompts = [common + ids(rng, own) for _ in range(requests)]
        return await closed(asker, prompts, tokens, clients)

    return Workload(name, run)


def conversations(name: str, count: int, turns: int) -> Workload:
    """Chats at the same time, each turn with all that was said before."""

    async def run(asker: Asker, rng: random.Random) -> list[Reply]:
        system = words(rng, 128)
        replies: list[Reply] = []

        async def conversation(seed: int) -> None:
            own = random.Random(seed)
            messages = [{"role": "system", "content": system}]
            for _ in range(turns):
                messages.append({"role": "user", "content": words(own, 48)})
                reply = await asker.chat(list(messages), 48)
                replies.append(reply)
                messages.append({"role": "assistant", "content": reply.text})

        await asyncio.gather(*(conversation(rng.getrandbits(32)) for _ in range(count)))
        return replies

    return Workload(name, run)


def poisson(name: str, requests: int, rate: float, prompt: int, tokens: int) -> Workload:
    """An open loop: requests come at `rate` per second, whatever the server does."""

    async def run(asker: Asker, rng: random.Random) -> list[Reply]:
        tasks = []
        for _ in range(requests):
            tasks.append(asyncio.ensure_future(asker.complete(ids(rng, prompt), tokens)))
            await asyncio.sleep(rng.expovariate(rate))
        return list(await asyncio.gather(*tasks))

    return Workload(name, run)


SINGLE = (
    independent("single 128+128", 3, 1, 128, 128),
    independent("prompt 512", 4, 1, 512, 4),
    independent("prompt 2048", 3, 1, 2048, 4),
)
BATCH = (independent("batch 32 256+128", 32, 32, 256, 128),)
SERVING = (
    independent("closed 8 256+64", 24, 8, 256, 64),
    independent("closed 32 256+64", 48, 32, 256, 64),
    shared("shared prefix 64", 64, 16, 1024, 32, 32),
    conversations("conversations 8x5", 8, 5),
)
TINY = (
    independent("tiny 64 clients", 192, 64, 64, 64),
    texts("tiny 64 clients, text", 192, 64, 64, 64),
)
CONCURRENCY = tuple(
    independent(f"clients {count}", max(6, 2 * count), count, 256, 64)
    for count in (1, 2, 4, 8, 16, 32, 64)
)
RATES = tuple(
    poisson(f"rate {rate}", max(12, int(rate * 15)), rate, 256, 64)
    for rate in (0.25, 0.5, 1, 2, 3, 4)
)
SUITES: dict[str, tuple[Workload, ...]] = {
    "single": SINGLE,
    "core": (*SINGLE, *BATCH),
    "full": (*SINGLE, *BATCH, *SERVING),
    "tiny": TINY,
    "concurrency": CONCURRENCY,
    "rates": RATES,
}


async def measure(workload: Workload, asker: Asker, seed: int) -> dict[str, Any]:
    """Run a workload once and sum it up: tokens per second, and waits in milliseconds."""
    started = time.perf_counter()
    draws = random.Random(
        f"{workload.name} {seed}"
    )  # another workload's prompts are never met again
    replies = await workload.run(asker, draws)
    return {"workload": workload.name, **summary(replies, time.perf_counter() - started)}


def summary(replies: Sequence[Reply], elapsed_s: float) -> dict[str, Any]:
    """What a run comes to.

    tokens_per_s  generated, over the whole run
    stream_tokens_per_s  median over the replies, first token to last
    prompt_tokens_per_s  of all prompts over all times to the first token: for one request at a time
    """
    for reply in replies:
        reply.read()
    first = [reply.first_s * 1e3 for reply in replies]
    gaps = [gap * 1e3 for reply in replies for gap in reply.gaps_s]
    rates = [
        (reply.tokens - 1) / (reply.arrivals[-1] - reply.arrivals[0])
        for reply in replies
        if reply.tokens > 1 and reply.arrivals[-1] > reply.arrivals[0]
    ]
    return {
        "requests": len(replies),
        "seconds": elapsed_s,
        "tokens": sum(reply.tokens for reply in replies),
        "cached": sum(reply.cached for reply in replies),
        "tokens_per_s": sum(reply.tokens for reply in replies) / elapsed_s,
        "stream_tokens_per_s": statistics.median(rates) if rates else None,
        "prompt_tokens_per_s": sum(r.prompt_tokens for r in replies) / (sum(first) / 1e3),
        "first_p50_ms": percentile(first, 50),
        "first_p99_ms": percentile(first, 99),
        "gap_p50_ms": percentile(gaps, 50),
        "gap_p99_ms": percentile(gaps, 99),
    }


def percentile(values: Sequence[float], percent: int) -> float | None:
    """Linear between the nearest two; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
