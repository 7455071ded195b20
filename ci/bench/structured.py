"""What structured output costs a step: decoding without grammars, then with one for every sequence, in the same run.

    python ci/bench/structured.py --model DIRECTORY [--rows 32] [--steps 24] [--rounds 3] [--precision fast] [--temperature 1]

DIRECTORY is a checkpoint in the shape to measure, with a tokenizer as large as its vocabulary: masks are made for what the
tokenizer knows. The grammar is a long string in JSON, so that every step draws one token per sequence against a mask; then a
record of named fields, where tokens that must follow are not drawn. Medians in milliseconds per step, and per token.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from dovetail.config import EngineConfig
from dovetail.engine.driven import Driven
from dovetail.engine.load import load_engine
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from dovetail.structured import Grammar
from dovetail.weights.checkpoint import open_checkpoint

CONTEXT = 256
TEXT = Grammar("json_schema", json.dumps({"type": "string", "minLength": 4000}))
FIELDS = ("identifier", "customer_name", "delivery_address", "payment_reference", "order_status")
RECORD = Grammar(
    "json_schema",
    json.dumps(
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "integer", "maximum": 99} for name in FIELDS},
                "required": list(FIELDS),
                "additionalProperties": False,
            },
            "minItems": 200,
        }
    ),
)


def requests(rows: int, grammar: Grammar | None, temperature: float = 0) -> Iterator[Request]:
    """Sequences that outlast the measurement."""
    for row in range(rows):
        params = SamplingParams(
            temperature=temperature, grammar=grammar, max_tokens=1024, ignore_eos=True
        )
        yield Request(
            id=f"{row}",
            prompt=[1000 + (row * 7919 + at * 31) % 40_000 for at in range(CONTEXT)],
            sampling=params,
            max_tokens=1024,
            seed=row,
        )


def measure(
    engine: Driven, options: argparse.Namespace, grammar: Grammar | None
) -> tuple[float, float]:
    """Median seconds of a step in which every sequence decodes, and tokens of a sequence per step."""
    asked = list(requests(options.rows, grammar, options.temperature))
    for one in asked:
        engine.submit(one)
    begun: set[str] = set()
    while len(begun) < options.rows:
        begun |= {output.request_id for output in engine.step() if output.tokens}
    engine.step()
    times, tokens = [], 0
    for _ in range(options.steps):
        start = time.perf_counter()
        outputs = engine.step()
        times.append(time.perf_counter() - start)
        tokens += sum(len(output.tokens) for output in outputs)
    engine.cancel_all()
    while engine.has_work:
        engine.step()
    return statistics.median(times), tokens / options.steps / options.rows


def run(directory: Path, options: argparse.Namespace) -> None:
    """Print the table: rounds interleaved, so that what else the machine does falls on all alike."""
    config = EngineConfig(
        model=str(directory),
        platform=options.platform,
        quantization=options.quantization,
        precision=options.precision,
        max_num_seqs=options.rows,
        max_model_len=2048,
        enable_prefix_caching=False,
        target_inter_token_ms=0,
    )
    engine = load_engine(config, open_checkpoint(str(directory)))
    found: dict[str, list[tuple[float, float]]] = {}
    cases = {"no grammar": None, "text in JSON": TEXT, "a record": RECORD}
    try:
        for _ in range(options.rounds):
            for name, grammar in cases.items():
                found.setdefault(name, []).append(measure(engine, options, grammar))
    finally:
        engine.close()
    plain = statistics.median(step for step, _ in found["no grammar"])
    for name, rounds in found.items():
        step = statistics.median(each for each, _ in rounds)
        tokens = statistics.median(each for _, each in rounds)
        print(
            f"{name:14s} {1e3 * step:8.1f} ms per step ({step / plain - 1:+6.1%}), {tokens:5.2f} tokens per step, "
            f"{1e3 * step / tokens:8.1f} ms per token ({step / tokens / plain - 1:+6.1%})"
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--platform", default="cpu")
    parser.add_argument("--quantization", default="int8")
    parser.add_argument("--precision")
    parser.add_argument("--temperature", type=float, default=0)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    run(options.model, options)


if __name__ == "__main__":
    main()
