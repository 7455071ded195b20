"""How each server is started, and how it is asked; ours is one of them."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client import Client
from machine import busy_seconds, memory_of, outrank, seconds_of
from workloads import SUITES, Workload, measure

PATIENCE_S = 300.0
MODEL = "m"


@dataclass(frozen=True, slots=True)
class Server:
    """A program that listens on a port.

    name     in tables: "dovetail int8"
    command  of a port -> the words that start it
    """

    name: str
    command: Callable[[int], list[str]]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Running:
    """A server that has given its first token.

    ready_s        seconds from the start to /health
    first_token_s  and to the first token
    """

    name: str
    process: subprocess.Popen[bytes]
    client: Client
    ready_s: float
    first_token_s: float

    def memory(self) -> int:
        return memory_of(self.process.pid)

    def measure(self, workload: Workload, seed: int) -> dict[str, Any]:
        """Run a workload against it."""
        used, busy = seconds_of(self.process.pid), busy_seconds()
        own = time.process_time()
        result = asyncio.run(measure(workload, self.client, seed))
        used = seconds_of(self.process.pid) - used
        others = busy_seconds() - busy - used - (time.process_time() - own)
        return {
            **result,
            "processor_s": used,
            "other_cores": others / result["seconds"],
            "memory": memory_of(self.process.pid),
        }

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(server: Server, port: int, log: Path) -> Running:
    """Start it and wait for its first token; raises SystemExit with where its log is."""
    with log.open("wb") as file:
        started = time.perf_counter()
        process = subprocess.Popen(
            server.command(port),
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **server.environment},
            start_new_session=True,
        )
    outrank(process.pid)
    while not _answers(port):
        if process.poll() is not None or time.perf_counter() - started > PATIENCE_S:
            process.kill()
            raise SystemExit(f"error: {server.name} did not start; see {log}")
        time.sleep(0.02)
    ready_s = time.perf_counter() - started
    _first_token(port)
    first_token_s = time.perf_counter() - started
    return Running(server.name, process, Client("127.0.0.1", port, MODEL), ready_s, first_token_s)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _first_token(port: int) -> None:
    body = {
        "model": MODEL,
        "prompt": list(range(300, 316)),
        "max_tokens": 1,
        "temperature": 0,
        "ignore_eos": True,
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(
        "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"error: the first request got {answer.status}: {answer.read()[:300]!r}")
    answer.read()
    connection.close()


# ------------------------------------------------------------------------------------------------ the servers


def dovetail(model: Path, weights: str, arguments: tuple[str, ...] = ()) -> Server:
    """Ours, with its defaults but for the weights."""

    def command(port: int) -> list[str]:
        words = [
            sys.executable,
            "-m",
            "dovetail.cli.main",
            "serve",
            str(model),
            "--platform",
            "cpu",
        ]
        words += ["--port", str(port), "--served-model-name", MODEL, *arguments]
        return words if weights == "bf16" else [*words, "--quantization", weights]

    return Server(f"dovetail {weights}", command)


def llama_server(program: Path, gguf: Path, weights: str, context: int = 98_304) -> Server:
    """llama.cpp's; a cache per slot: the unified one makes every slot look at the others' tokens."""

    def command(port: int) -> list[str]:
        words = [str(program), "-m", str(gguf), "--host", "127.0.0.1", "--port", str(port)]
        return [
            *words,
            "-t",
            str(os.cpu_count()),
            "-np",
            "32",
            "-no-kvu",
            "-c",
            str(context),
            "-a",
            MODEL,
        ]

    return Server(f"llama-server {weights}", command)


def vllm(environment: Path, model: Path, weights: str) -> Server:
    """vLLM's CPU build."""

    def command(port: int) -> list[str]:
        words = [str(environment / "bin/vllm"), "serve", str(model), "--served-model-name", MODEL]
        words += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16"]
        return [
            *words,
            "--max-model-len",
            "4096",
            "--max-num-seqs",
            "64",
            "--no-enable-log-requests",
        ]

    preloaded = [
        *Path("/usr/lib").glob("*/libtcmalloc_minimal.so.4"),
        environment / "lib/libiomp5.so",
    ]
    return Server(
        f"vllm {weights}",
        command,
        {
            "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
            "LD_PRELOAD": ":".join(str(library) for library in preloaded),
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_CPU_OMP_THREADS_BIND": f"0-{(os.cpu_count() or 1) - 1}",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        },
    )


# ------------------------------------------------------------------------------------- engines without a server


@dataclass(slots=True)
class Driven:
    """in_process.py in a peer's environment, asked over a pipe."""

    name: str
    process: subprocess.Popen[str]
    first_token_s: float
    ready_s: float | None = None

    def measure(self, workload: Workload, seed: int) -> dict[str, Any]:
        """Run a workload in it."""
        suite = next(name for name, members in SUITES.items() if workload in members)
        asked = {"workload": workload.name, "suite": suite, "seed": seed}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return _line_of(self.process)

    def memory(self) -> int:
        return memory_of(self.process.pid)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, slots=True)
class InProcess:
    """An engine that in_process.py knows."""

    name: str
    engine: str
    python: Path
    model: Path


def start_driven(engine: InProcess, log: Path) -> Driven:
    """Start it and wait for its first token."""
    script = Path(__file__).with_name("in_process.py")
    words = [str(engine.python), str(script), engine.engine, str(engine.model)]
    started = time.perf_counter()
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log.open("wb"),
        text=True,
        start_new_session=True,
    )
    outrank(process.pid)
    _line_of(process)
    return Driven(engine.name, process, time.perf_counter() - started)


def _line_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of JSON; libraries may print lines of their own."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return dict(json.loads(line))
    raise SystemExit(f"error: a peer ended with status {process.wait()}; see its log")


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
