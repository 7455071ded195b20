"""What is checked: each answer by itself, then the counters against all of them, then what is left behind."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
from asking import Got, Outcome
from facts import Facts
from jsonschema import ValidationError, validate
from loads import SCHEMA
from serving import Server, descriptors, resident_bytes

SETTLE_S = 20.0
"""After the last request has ended, until gauges and descriptors must be back."""
MARGIN_BYTES = 48 << 20
"""Memory that a process may have more after the last wave than after its second: caches with bounds fill up."""
SAMPLE = re.compile(r"^dovetail:(\w+)\{([^}]*)\} (\S+)$")


# --------------------------------------------------------------------------------------------------- one answer


def faults_of(outcome: Outcome, facts: Facts, server: Server, *, faulty: bool) -> list[str]:
    """What is wrong with an answer.

    faulty  the platform has planted faults, for which requests may fail at any time
    """
    wrong = list(outcome.wrong)
    excused = faulty or server.excuses(outcome.started, outcome.ended)
    if outcome.kind != "complete" and server.paused(outcome.started, outcome.ended):
        pass  # the limits of the server and of this client ran out while nobody could do anything
    elif outcome.kind == "hangs":
        wrong.append("it did not end")
    elif outcome.kind == "broken" and not server.excuses(
        outcome.started, outcome.ended, broken=True
    ):
        wrong.append(f"its connection ended: {outcome.error}")
    elif outcome.kind == "error" and not (excused and _clear(outcome)):
        wrong.append(f"it was refused: {outcome.status} {outcome.error[:300]}")
    elif outcome.kind == "complete":
        wrong += _complete(outcome)
    for index, got in outcome.choices.items():
        wrong += [f"choice {index}: {text}" for text in _choice(outcome, index, got, facts)]
    return wrong


def _clear(outcome: Outcome) -> bool:
    """Whether an error says what it is: an engine that stopped, or one row that failed."""
    try:
        body = json.loads(outcome.error)
    except ValueError:
        return False
    error = body.get("error", body)
    return error["type"] == "server_error" and bool(error["message"])


def _complete(outcome: Outcome) -> list[str]:
    wrong = []
    if len(outcome.choices) != outcome.asked.choices:
        wrong.append(f"{len(outcome.choices)} choices, {outcome.asked.choices} were asked for")
    for index, got in outcome.choices.items():
        if len(got.finish) != 1:
            wrong.append(f"choice {index} ended {len(got.finish)} times")
    if outcome.usage is None:
        return [*wrong, "no usage"]
    if outcome.usage["completion_tokens"] != outcome.tokens:
        wrong.append(
            f"usage says {outcome.usage['completion_tokens']}, {outcome.tokens} tokens came"
        )
    each = int(outcome.asked.body.get("n", 1))
    prompts = sum(len(got.prompt) for index, got in outcome.choices.items() if index % each == 0)
    if outcome.usage["prompt_tokens"] != prompts:
        wrong.append(f"usage says {outcome.usage['prompt_tokens']} of prompt, it had {prompts}")
    return wrong


def _choice(outcome: Outcome, index: int, got: Got, facts: Facts) -> list[str]:
    asked = outcome.asked
    most, whole = int(asked.body["max_tokens"]), outcome.kind == "complete"
    if asked.structured:
        return _structured(got) if whole else []
    wrong = []
    if whole and got.finish == ["length"] and len(got.ids) != most:
        wrong.append(f"{len(got.ids)} tokens, {most} were due")
    if whole and asked.path == "/v1/completions":
        text = facts.tokenizer.decode(got.ids)
        if got.text != text:
            wrong.append(f"the text {got.text!r} is not that of the ids, {text!r}")
    if facts.exact and got.prompt:
        seed = asked.body.get("seed", 0) + index % int(asked.body.get("n", 1))
        due = facts.reply(
            got.prompt,
            most if whole else len(got.ids),
            stops=not asked.body["ignore_eos"],
            temperature=asked.body["temperature"],
            seed=seed,
        )
        if got.ids != due:
            wrong.append(f"tokens {got.ids} are not those of the null platform, {due}")
    return wrong


def _structured(got: Got) -> list[str]:
    if got.finish == ["length"]:
        return []
    try:
        validate(json.loads(got.text), SCHEMA)
    except (ValueError, ValidationError) as error:
        return [f"{got.text!r} is not what the schema allows: {error}"[:300]]
    return []


# -------------------------------------------------------------------------------------------------- the counters


async def samples(client: httpx.AsyncClient) -> dict[str, float]:
    """Metrics by name; request_success by "name.reason"."""
    found = {}
    for line in (await client.get("/metrics")).text.splitlines():
        if match := SAMPLE.match(line):
            reason = re.search(r'finished_reason="(\w+)"', match[2])
            found[match[1] + (f".{reason[1]}" if reason else "")] = float(match[3])
    return found


async def settled(client: httpx.AsyncClient) -> tuple[dict[str, float], list[str]]:
    """The metrics once nothing runs any more, and what never came to rest."""
    names = (
        "num_requests_running",
        "num_requests_waiting",
        "num_queue_tokens",
        "kv_cache_usage_perc",
    )
    for _ in range(int(SETTLE_S / 0.1)):
        found = await samples(client)
        busy = {name: found[name] for name in names if found[name]}
        if not busy:
            return found, []
        await asyncio.sleep(0.1)
    return found, [f"nothing is asked for any more, and yet {busy}"]


def miscounted(found: dict[str, float], outcomes: Sequence[Outcome]) -> list[str]:
    """Where the counters since the start are at odds with what clients got since then."""
    complete = [outcome for outcome in outcomes if outcome.kind == "complete"]
    others = [outcome for outcome in outcomes if outcome.kind != "complete"]
    ended: Counter[str] = Counter()
    for outcome in complete:
        ended.update(reason for got in outcome.choices.values() for reason in got.finish)
    most = sum(outcome.asked.choices for outcome in others)
    wrong = []
    for reason in ("stop", "length"):
        counted = found[f"request_success_total.{reason}"]
        if not ended[reason] <= counted <= ended[reason] + most:
            wrong.append(
                f"{counted:g} ended by {reason}, clients saw {ended[reason]} and lost {most}"
            )
    tokens = sum(outcome.tokens for outcome in outcomes)
    counted = found["generation_tokens_total"]
    if counted < tokens or (not others and counted != tokens):
        wrong.append(f"{counted:g} tokens generated, clients got {tokens}")
    prompts = sum(outcome.usage["prompt_tokens"] for outcome in complete if outcome.usage)
    counted = found["prompt_tokens_total"]
    if counted < prompts or (not others and counted != prompts):
        wrong.append(f"{counted:g} tokens of prompts, clients were told {prompts}")
    return wrong


# ------------------------------------------------------------------------------------------------- what is left


@dataclass(slots=True)
class Ground:
    """What a process had at rest: the first time and the second. Memory is compared from the second on."""

    descriptors: int
    bytes: int
    visits: int = 1


class Grounds:
    """Every process of a server by its id, at each rest."""

    def __init__(self) -> None:
        self._of: dict[int, Ground] = {}
        self.most_growth = 0

    async def leaks(self, server: Server) -> list[str]:
        """What a process has now that it did not have before. Call when nothing runs and no client is connected."""
        wrong = []
        for pid in [server.pid, *server.engines()]:
            ground = self._of.get(pid)
            if ground is None:
                self._of[pid] = Ground(len(descriptors(pid)), resident_bytes(pid))
                continue
            wrong += await self._compare(pid, ground)
        return wrong

    async def _compare(self, pid: int, ground: Ground) -> list[str]:
        for _ in range(int(SETTLE_S / 0.1)):
            if len(descriptors(pid)) <= ground.descriptors:
                break
            await asyncio.sleep(0.1)
        else:
            return [f"process {pid} had {ground.descriptors} descriptors, now {descriptors(pid)}"]
        ground.visits += 1
        if ground.visits == 2:
            ground.bytes = max(ground.bytes, resident_bytes(pid))
        growth = resident_bytes(pid) - ground.bytes
        self.most_growth = max(self.most_growth, growth)
        if growth > MARGIN_BYTES:
            return [f"process {pid} has {growth >> 20} MiB more than after its second wave"]
        return []
