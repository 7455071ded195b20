"""Engines without a server, driven in this process by the same workloads: OpenVINO GenAI and transformers.

    PEER/bin/python ci/bench/peers/in_process.py genai MODEL_DIRECTORY

Runs in the peer's environment. Prints a line of JSON when the first token is there; then reads a line
{"workload": name, "suite": suite, "seed": n} at a time and prints what it measured. No HTTP, no text: what these
numbers leave out is in their favour.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

STARTED = time.perf_counter()

from client import Reply  # noqa: E402  the clock starts before anything is imported
from machine import busy_seconds, memory_of, seconds_of  # noqa: E402
from workloads import SUITES, Asker, measure  # noqa: E402

CACHE_GB = 2


class GenAI:
    """OpenVINO GenAI's continuous batching, stepped between the awaits of the workload."""

    def __init__(self, model: str) -> None:
        self._genai = importlib.import_module("openvino_genai")
        self._openvino = importlib.import_module("openvino")
        self._numpy = importlib.import_module("numpy")
        scheduler = self._genai.SchedulerConfig()
        scheduler.cache_size = CACHE_GB
        scheduler.enable_prefix_caching = True
        scheduler.max_num_seqs = 64
        self._pipeline = self._genai.ContinuousBatchingPipeline(model, scheduler, "CPU", {})
        self._tokenizer = self._pipeline.get_tokenizer()
        self._running: list[tuple[Any, Reply, list[int], asyncio.Future[None]]] = []
        self._stepping: asyncio.Task[None] | None = None
        self._requests = 0

    async def complete(self, prompt: list[int] | str, tokens: int) -> Reply:
        """Generate exactly `tokens` tokens."""
        ids = prompt if isinstance(prompt, list) else self._encode(prompt)
        reply, generated = await self._generate(ids, tokens)
        reply.text = self._tokenizer.decode(generated)
        return reply

    async def chat(self, messages: list[dict[str, str]], tokens: int) -> Reply:
        """The chat through the model's template."""
        text = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        return await self.complete(text, tokens)

    def _encode(self, text: str) -> list[int]:
        return [int(token) for token in self._tokenizer.encode(text).input_ids.data[0]]

    async def _generate(self, ids: list[int], tokens: int) -> tuple[Reply, list[int]]:
        config = self._genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = tokens
        config.ignore_eos, config.do_sample = True, False
        reply = Reply(time.perf_counter(), prompt_tokens=len(ids), tokens=tokens)
        prompt = self._openvino.Tensor(self._numpy.array([ids], dtype=self._numpy.int64))
        self._requests += 1
        handle = self._pipeline.add_request(self._requests, prompt, config)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        generated: list[int] = []
        self._running.append((handle, reply, generated, done))
        if self._stepping is None or self._stepping.done():
            self._stepping = asyncio.create_task(self._step())
        await done
        return reply, generated

    async def _step(self) -> None:
        while self._running:
            self._pipeline.step()
            arrived = time.perf_counter()
            for entry in list(self._running):
                self._read(entry, arrived)
            await asyncio.sleep(0)

    def _read(
        self, entry: tuple[Any, Reply, list[int], asyncio.Future[None]], arrived: float
    ) -> None:
        handle, reply, generated, done = entry
        while handle.can_read():
            for output in handle.read().values():
                generated += output.generated_ids
                reply.arrivals += [arrived] * len(output.generated_ids)
        if handle.get_status() != self._genai.GenerationStatus.RUNNING and not handle.can_read():
            self._running.remove(entry)
            done.set_result(None)


class Transformers:
    """transformers' generate, one request at a time."""

    def __init__(self, model: str) -> None:
        self._torch = importlib.import_module("torch")
        self._transformers = importlib.import_module("transformers")
        load = self._transformers.AutoModelForCausalLM.from_pretrained
        self._model = load(model, dtype=self._torch.bfloat16)
        self._tokenizer = self._transformers.AutoTokenizer.from_pretrained(model)

    async def complete(self, prompt: list[int] | str, tokens: int) -> Reply:
        """Generate exactly `tokens` tokens."""
        ids = prompt if isinstance(prompt, list) else self._tokenizer.encode(prompt)
        reply = Reply(time.perf_counter(), prompt_tokens=len(ids), tokens=tokens)
        streamer = _Arrivals(reply)
        self._model.generate(
            self._torch.tensor([ids]),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            streamer=streamer,
        )
        return reply

    async def chat(self, messages: list[dict[str, str]], tokens: int) -> Reply:
        """The chat through the model's template."""
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return await self.complete(text, tokens)


class _Arrivals:
    """Notes when each token comes; the first thing it is given is the prompt."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._prompt = True

    def put(self, value: object) -> None:
        if not self._prompt:
            self._reply.arrivals.append(time.perf_counter())
        self._prompt = False

    def end(self) -> None:
        """Nothing is kept."""


ENGINES: dict[str, Callable[[str], Asker]] = {"genai": GenAI, "transformers": Transformers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("model")
    given = parser.parse_args()
    asker = ENGINES[given.engine](given.model)
    asyncio.run(asker.complete(list(range(300, 316)), 1))
    _print({"first_token_s": time.perf_counter() - STARTED})
    for line in sys.stdin:
        asked = json.loads(line)
        workload = next(w for w in SUITES[asked["suite"]] if w.name == asked["workload"])
        used, busy = seconds_of(os.getpid()), busy_seconds()
        result = asyncio.run(measure(workload, asker, asked["seed"]))
        used = seconds_of(os.getpid()) - used
        others = (busy_seconds() - busy - used) / result["seconds"]
        memory = memory_of(os.getpid())
        _print({**result, "processor_s": used, "other_cores": others, "memory": memory})


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
