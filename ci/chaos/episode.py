"""One episode: a server with settings drawn from a seed, waves of requests, misfortunes, and the checks in between."""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from asking import Outcome, ask
from disturbing import Disk, disturb
from facts import MODEL, Facts
from judging import Grounds, faults_of, miscounted, settled
from loads import Loads
from serving import Server

CONTEXT = 512
CACHE = "6M"
DISK_BYTES = 3 << 20
EXACT = ("null", "null:ahead2", "null:ahead3", "null:strict2")
FAULTY = (
    "fault:slow=0.01",
    "fault:cache-lost@40+cache-lost-late@90+cache-lost-sample@150+cache-lost@151",
    *(
        f"fault:{ahead}{word}@150"
        for ahead in ("", "ahead2+")
        for word in ("device-lost", "raise-late", "hang", "short-result", "not-finite")
    ),
)
CHOICES = {"null": EXACT, "fault": FAULTY, "cpu": ("cpu",)}


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of an episode.

    waves    of requests, each followed by rest and checks
    wave_s   seconds of one
    clients  at a time
    """

    seed: int
    platform: str
    waves: int
    wave_s: float
    clients: int
    disk: bool
    kills: bool
    restarts: bool

    @classmethod
    def drawn(cls, seed: int, kind: str, *, waves: int, wave_s: float) -> Plan:
        """From a seed, on a platform of a kind."""
        rng = random.Random(seed)
        return cls(
            seed=seed,
            platform=rng.choice(CHOICES[kind]),
            waves=waves,
            wave_s=wave_s,
            clients=rng.choice([4, 12, 32]) if kind != "cpu" else rng.choice([2, 6]),
            disk=rng.random() < 0.7,
            kills=rng.random() < 0.7,
            restarts=rng.random() < 0.6,
        )

    @property
    def faulty(self) -> bool:
        """Whether requests may fail at any time, for the platform does."""
        return "@" in self.platform and "cache-lost" not in self.platform

    def flags(self, folder: Path) -> list[str]:
        """Of dovetail serve."""
        flags = [
            "--platform",
            self.platform,
            "--max-model-len",
            str(CONTEXT),
            "--kv-cache-memory",
            CACHE,
        ]
        flags += [
            "--max-num-batched-tokens",
            "128",
            "--step-timeout-s",
            "5" if self.platform == "cpu" else "1",
        ]
        flags += ["--log-level", "warning", "--max-restarts", "20"]
        if self.disk:
            flags += [
                "--kv-cache-disk",
                f"{folder / 'kv'}:{DISK_BYTES}",
                "--kv-cache-host-memory",
                "2M",
            ]
        return flags


@dataclass(slots=True)
class Report:
    """What an episode came to."""

    kinds: Counter[str] = field(default_factory=Counter)
    misfortunes: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    pauses: int = 0
    paused_s: float = 0.0
    growth_bytes: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Take another one in."""
        self.kinds += other.kinds
        self.misfortunes += other.misfortunes
        self.tokens += other.tokens
        self.pauses += other.pauses
        self.paused_s += other.paused_s
        self.growth_bytes = max(self.growth_bytes, other.growth_bytes)
        self.wrong += other.wrong


class Episode:
    """Runs a plan."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.report = Report()
        self._rng = random.Random(plan.seed)
        self._facts = Facts(plan.platform != "cpu")
        self._server = Server(folder, MODEL, plan.flags(folder))
        self._disk = Disk(self._rng, folder / "kv") if plan.disk else None
        self._loads = Loads(self._rng, self._facts.vocab_size)
        self._life: list[Outcome] = []
        self._grounds = Grounds()

    async def run(self) -> None:
        """All waves; then the end, and what is left behind."""
        async with self._server.pauses.watched():
            await self._run()
        self.report.pauses = len(self._server.pauses)
        self.report.paused_s = self._server.pauses.seconds

    async def _run(self) -> None:
        await self._server.start()
        try:
            for number in range(self.plan.waves):
                await self._wave()
                await self._rest()
                if self.plan.restarts and number < self.plan.waves - 1:
                    await self._restart()
            if self._disk is not None:
                self._disk.mend()
            status = await self._server.end()
            if status != 0:
                self._wrong(f"the server ended with status {status}: {self._server.log[-1500:]}")
        except BaseException:
            await self._server.end(signal.SIGKILL)
            raise
        await self._after()

    async def _wave(self) -> None:
        """Clients that ask one thing after another, while misfortunes happen."""
        over, ends = asyncio.Event(), time.monotonic() + self.plan.wave_s
        async with self._client() as client:

            async def work() -> None:
                while time.monotonic() < ends:
                    outcome = await ask(client, self._loads.draw())
                    self._judge(outcome)
                    if outcome.kind == "error":
                        await asyncio.sleep(0.05)  # as Retry-After asks, and shorter

            troubles = asyncio.create_task(
                disturb(self._rng, self._server, self._disk, kills=self.plan.kills, until=over)
            )
            try:
                await asyncio.gather(*(work() for _ in range(self.plan.clients)))
            finally:
                over.set()
            self.report.misfortunes.update(await troubles)

    async def _rest(self) -> None:
        """Nobody asks anything: everything is free again and all counts agree."""
        await self._server.recovered()
        async with self._client() as client:
            found, wrong = await settled(client)
            wrong += miscounted(found, self._life)
        await asyncio.sleep(0.1)
        for text in wrong + await self._grounds.leaks(self._server):
            self._wrong(text)
        self.report.growth_bytes = self._grounds.most_growth

    async def _restart(self) -> None:
        """End the server while it serves, gently or not, and start it again."""
        number = self._rng.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGKILL])
        if self._disk is not None:
            self._disk.mend()
        async with self._client() as client:
            asked = [asyncio.create_task(ask(client, self._loads.draw())) for _ in range(6)]
            await asyncio.sleep(self._rng.random() * 0.1)
            status = await self._server.end(number)
            outcomes = await asyncio.gather(*asked)
        if status != (0 if number == signal.SIGTERM else -number):
            self._wrong(f"the server ended with status {status} after signal {number}")
        for pid in await self._server.orphans():
            self._wrong(f"process {pid} outlived the server")
        await self._server.start()
        await self._server.recovered()
        for outcome in outcomes:
            self._judge(outcome)
        self._life.clear()
        self.report.misfortunes[f"server signal {int(number)}"] += 1

    async def _after(self) -> None:
        for pid in await self._server.orphans():
            self._wrong(f"process {pid} outlived the server")
        for path in self._server.temporary.rglob("*"):
            self._wrong(f"{path} was left")
        for text in self._disk.left_over(DISK_BYTES) if self._disk is not None else []:
            self._wrong(text)
        for line in self._server.log.splitlines():
            if "Traceback" in line and not self.plan.faulty:
                self._wrong(f"a traceback in the log: {self._server.log[-3000:]}")
                break

    def _judge(self, outcome: Outcome) -> None:
        self._life.append(outcome)
        self.report.kinds[outcome.kind] += 1
        self.report.tokens += outcome.tokens
        for text in faults_of(outcome, self._facts, self._server, faulty=self.plan.faulty):
            self._wrong(f"{text} (asked: {str(outcome.asked)[:1500]})")

    def _wrong(self, text: str) -> None:
        self.report.wrong.append(f"seed {self.plan.seed} on {self.plan.platform}: {text}")

    def _client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None)
        return httpx.AsyncClient(
            base_url=self._server.url, timeout=None, limits=limits, trust_env=False
        )


async def run_episode(plan: Plan) -> Report:
    """Run a plan in a folder of its own; a server that ends in the middle is one thing wrong."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        episode = Episode(plan, Path(folder))
        try:
            await episode.run()
        except* RuntimeError as group:
            episode.report.wrong += map(str, group.exceptions)
    return episode.report
