"""Us and the peers on the same machine and the same weights, workload by workload in turn, over HTTP.

    python ci/bench/peers/prepare.py DIRECTORY
    python ci/bench/peers/compare.py DIRECTORY [--model qwen0.5b] [--weights int8] [--suite full] [--rounds 3]
        [--peers llama-server,vllm,genai,transformers] [--ours "fast=--precision fast"] [--only "single"] [--out FILE]

All engines are started once and stay; then each workload goes round them before the next one begins, so that a noisy
neighbour hits all alike. A round begins when the machine is idle, and says how many cores other programs took meanwhile.
Every result is a line of JSON in FILE; report.py makes tables of it, plots.py pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine
from prepare import llama_source
from servers import (
    Driven,
    InProcess,
    Running,
    Server,
    dovetail,
    free_port,
    llama_server,
    start,
    start_driven,
    vllm,
)
from shapes import SHAPES
from workloads import SUITES, Workload

PEERS = ("llama-server", "vllm", "genai", "transformers")
WEIGHTS = ("bf16", "int8", "int4")
IDLE_PATIENCE_S = 60.0
Engine = Server | InProcess


def engines(root: Path, model: str, weights: str, peers: list[str]) -> Iterator[Engine]:
    """Ours first, then the peers that have these weights."""
    models = root / "models"
    yield dovetail(models / model, weights)
    if "llama-server" in peers:
        form = {"bf16": "bf16", "int8": "q8_0", "int4": "q4_0"}[weights]
        program = llama_source(root) / "build/bin/llama-server"
        yield llama_server(program, models / f"gguf/{model}-{form}.gguf", weights)
    if "vllm" in peers:
        suffix = {"bf16": "", "int8": "-w8a8", "int4": "-w4a16"}[weights]
        yield vllm(root / "vllm", models / f"{model}{suffix}", weights)
    if "genai" in peers:
        form = {"bf16": "fp16", "int8": "int8", "int4": "int4"}[weights]
        exported = models / "openvino" / f"{model}-{form}"
        yield InProcess(f"genai {weights}", "genai", root / "genai/bin/python", exported)
    if "transformers" in peers and weights == "bf16":
        yield InProcess(
            "transformers bf16", "transformers", root / "genai/bin/python", models / model
        )


def variants(model: Path, weights: str, asked: list[str]) -> Iterator[Server]:
    """Ours with other settings, named dovetail-NAME."""
    for name, _, arguments in (item.partition("=") for item in asked):
        server = dovetail(model, weights, tuple(arguments.split()))
        yield replace(server, name=f"dovetail-{name} {weights}")


def begin(engine: Engine, logs: Path) -> Running | Driven:
    """Start an engine once the machine is idle."""
    machine.wait_until_idle(IDLE_PATIENCE_S)
    log = logs / f"{engine.name.replace(' ', '-')}.log"
    if isinstance(engine, Server):
        return start(engine, free_port(), log)
    return start_driven(engine, log)


def compare(
    running: list[Running | Driven],
    workloads: Sequence[Workload],
    rounds: int,
    limits: dict[str, int],
) -> Iterator[dict[str, Any]]:
    """Every workload, a round of all engines after the other.

    limits  rounds of an engine that is slow, by the first word of its name; 0 leaves it out
    """
    for workload in workloads:
        for number in range(rounds):
            for engine in running:
                if number >= limits.get(engine.name.split()[0], rounds):
                    continue
                machine.wait_until_idle(IDLE_PATIENCE_S)
                result = engine.measure(workload, seed=1000 + number)
                yield {"engine": engine.name, "round": number, **result}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--model", choices=SHAPES, default="qwen0.5b")
    parser.add_argument("--weights", choices=WEIGHTS, default="int8")
    parser.add_argument("--suite", choices=SUITES, default="full")
    parser.add_argument("--only", default="", metavar="TEXT", help="workloads whose name begins so")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default=",".join(PEERS), help="separated by commas; - for none")
    parser.add_argument(
        "--ours", action="append", default=[], metavar="NAME=ARGUMENTS", help="ours once more, so"
    )
    parser.add_argument("--limit", action="append", default=[], metavar="PEER=ROUNDS")
    parser.add_argument("--out", type=Path, default=Path("peers.jsonl"))
    given = parser.parse_args()
    peers = [] if given.peers == "-" else given.peers.split(",")
    if unknown := [peer for peer in peers if peer not in PEERS]:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(PEERS)}")
    workloads = [each for each in SUITES[given.suite] if each.name.startswith(given.only)]
    if not workloads:
        parser.error(f"no workload of {given.suite} begins with {given.only!r}")
    limits = {name: int(count) for name, _, count in (item.partition("=") for item in given.limit)}
    machine.outrank(os.getpid())
    root = given.directory.resolve()
    about = {"model": given.model, "weights": given.weights, "at": time.strftime("%F %H:%M")}
    running: list[Running | Driven] = []
    with given.out.open("a") as out:

        def note(result: dict[str, Any]) -> None:
            line = json.dumps({**about, **result})
            print(line, file=out, flush=True)
            print(line, file=sys.stderr, flush=True)

        try:
            more = variants(root / "models" / given.model, given.weights, given.ours)
            for engine in [*engines(root, given.model, given.weights, peers), *more]:
                running.append(begin(engine, root))
                one = running[-1]
                started = {"ready_s": one.ready_s, "first_token_s": one.first_token_s}
                note({"engine": one.name, "workload": "start", **started, "memory": one.memory()})
            for result in compare(running, workloads, given.rounds, limits):
                note(result)
        finally:
            for one in running:
                one.stop()


if __name__ == "__main__":
    main()
