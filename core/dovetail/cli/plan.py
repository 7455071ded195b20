"""dovetail plan"""

from __future__ import annotations

import argparse
import dataclasses
import json

from dovetail.engine.planning import Plan, plan
from dovetail.weights.checkpoint import open_config

from .models import named_model
from .parser import Parser, add_engine, add_model
from .settings import Settings

GIB, GIGA = 1 << 30, 1e9


def add_arguments(parser: Parser) -> None:
    """MODEL and the engine's settings."""
    add_model(parser, positional=True)
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_engine(parser)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Count, measure for about a second, and print."""
    config = settings.engine
    with named_model(config.model):
        name, values, checkpoint = open_config(config.model, revision=config.revision)
    made = plan(config, name, values, checkpoint)
    if given.json:
        print(json.dumps(dataclasses.asdict(made), indent=2))
    else:
        print("\n".join(lines(made)))
    return 0


def lines(made: Plan) -> list[str]:
    """For people."""
    rates = made.rates
    found = [
        f"{made.model} on {made.platform} ({made.device}), computing in {made.dtype}",
        f"weights    {made.weight_bytes / GIB:.2f} GiB as {made.weights}",
        f"workspace  {made.workspace_bytes / GIB:.2f} GiB for a step, and what is packed anew",
        f"cache      {made.token_bytes / 1024:.1f} KiB per token as {made.cache_form}; "
        f"room for {made.cache_bytes / GIB:.2f} GiB ({made.free_bytes / GIB:.1f} GiB are free)",
    ]
    found += [
        f"           {fit.sequences} sequences of {fit.tokens} tokens, limited by {fit.limit}"
        for fit in made.fits
    ]
    return [
        *found,
        f"decoding   {rates.single:.1f} tokens/s alone, limited by {rates.single_limit} "
        f"({rates.bandwidth / GIGA:.1f} GB/s of weights)",
        f"           {rates.batch:.0f} tokens/s for {rates.rows} at once, limited by {rates.batch_limit}",
        f"prompts    {rates.prompt:.0f} tokens/s, limited by compute "
        f"({rates.operations / GIGA:.0f} G operations/s)",
        *(f"note       {note}" for note in made.notes),
    ]
