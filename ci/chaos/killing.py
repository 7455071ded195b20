"""Engines killed in the middle of streams: how soon clients know, and how soon the service is back."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from asking import Outcome, ask
from facts import MODEL, Facts
from judging import Grounds, faults_of, settled
from loads import Asked
from serving import Server

CLIENTS = 8
CONTEXT = 512


@dataclass(slots=True)
class Kills:
    """Seconds: of each client until its error, of each kill until the service was back, of the first start.

    again  kills that were repeated, because the machine stood still meanwhile
    """

    start_s: float = 0.0
    again: int = 0
    told_s: list[float] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


async def kill_engines(count: int, seed: int, platform: str) -> Kills:
    """Kill one engine after another under streams that run; every request in between is checked."""
    rng, facts, found = random.Random(seed), Facts(platform != "cpu"), Kills()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        flags = ["--platform", platform, "--max-model-len", str(CONTEXT), "--log-level", "warning"]
        server = Server(Path(folder), MODEL, flags)
        async with server.pauses.watched():
            found.start_s = await server.start()
            grounds = Grounds()
            while len(found.back_s) < count:
                await _kill_once(rng, facts, server, found)
                found.wrong += await grounds.leaks(server)
        if await server.end() != 0:
            found.wrong.append("the server did not end well")
        found.wrong += [f"process {pid} was left" for pid in await server.orphans()]
    return found


async def _kill_once(rng: random.Random, facts: Facts, server: Server, found: Kills) -> None:
    """Streams that run, a kill, their errors, the next engine, and a request that it answers well."""
    async with httpx.AsyncClient(base_url=server.url, timeout=None, trust_env=False) as client:
        # streams follow one another until the kill, so that some are always at each stage
        killed = asyncio.Event()

        async def work() -> Outcome:
            while True:
                outcome = await ask(client, _stream(rng, facts, 440))
                if killed.is_set() or outcome.kind != "complete":
                    return outcome
                found.wrong += faults_of(outcome, facts, server, faulty=False)

        asked = [asyncio.create_task(work()) for _ in range(CLIENTS)]
        await asyncio.sleep(0.02 + 0.1 * rng.random())
        at = time.monotonic()
        server.kill_engine()
        killed.set()
        outcomes = await asyncio.gather(*asked)
        back_s = await server.recovered() - at
        outcomes.append(await ask(client, _stream(rng, facts, 16)))
        if outcomes[-1].kind != "complete":
            found.wrong.append(f"after the restart: {outcomes[-1].error}")
        found.wrong += (await settled(client))[1]
    for outcome in outcomes:
        found.wrong += faults_of(outcome, facts, server, faulty=False)
    if server.paused(at, time.monotonic()):
        found.again += 1
        return
    found.back_s.append(back_s)
    found.told_s += [outcome.ended - at for outcome in outcomes if outcome.kind == "error"]


def _stream(rng: random.Random, facts: Facts, tokens: int) -> Asked:
    prompt = [rng.randrange(facts.vocab_size - 16) for _ in range(32)]
    return Asked(
        "/v1/completions",
        {
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": 0.0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
        },
    )
