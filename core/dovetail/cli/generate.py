"""dovetail generate"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from typing import Any

from dovetail.errors import ConfigError

from .parser import Parser, add_engine, add_model, typed
from .settings import Settings
from .sources import LocalSource
from .values import MOST, between, seconds


def add_sampling(parser: Parser) -> None:
    """How to draw tokens."""
    group = parser.add_argument_group("sampling")
    group.add_argument(
        "--max-tokens", type=typed(between(0, MOST)), metavar="N", help="tokens to generate at most"
    )
    group.add_argument(
        "--temperature", type=typed(seconds), metavar="T", help="0 takes the likeliest"
    )
    group.add_argument("--top-p", type=float, metavar="P", help="smallest set reaching this")
    group.add_argument("--top-k", type=int, metavar="K", help="the K likeliest only")
    group.add_argument("--stop", action="append", metavar="TEXT", help="ends the text; repeatable")


def sampling_of(given: argparse.Namespace) -> dict[str, Any]:
    """What was given, under the names of SamplingParams."""
    names = ("max_tokens", "temperature", "top_p", "top_k", "stop")
    return {n: getattr(given, n) for n in names if getattr(given, n) is not None}


def add_arguments(parser: Parser) -> None:
    """PROMPT, --model, sampling and engine."""
    parser.add_argument("prompt", metavar="PROMPT", help="text to complete; - reads it from stdin")
    add_model(parser, positional=False)
    parser.add_argument("--chat", action="store_true", help="PROMPT is a user's message")
    parser.add_argument("--json", action="store_true", help="one JSON object at the end")
    add_sampling(parser)
    add_engine(parser)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Write the completion as it comes."""
    config = settings.engine
    prompt = sys.stdin.read() if given.prompt == "-" else given.prompt
    if not prompt:
        raise ConfigError("the prompt is empty; give some text")
    return asyncio.run(_generate(given, config, prompt))


async def _generate(given: argparse.Namespace, config: Any, prompt: str) -> int:
    source = await LocalSource.open(config)
    options = {"max_tokens": 256, **sampling_of(given)}
    try:
        ids = source.text.tokenizer.encode(prompt)
        if not given.chat:
            room = source.text.max_model_len - len(ids)
            if given.max_tokens is None:
                options["max_tokens"] = max(1, min(options["max_tokens"], room))
            pieces = source.complete(ids, options)
        else:
            options["max_tokens"] = given.max_tokens
            pieces = source.chat([{"role": "user", "content": prompt}], options)
        text = ""
        async with contextlib.aclosing(pieces):  # type: ignore[type-var]
            async for piece in pieces:
                text += piece
                if not given.json:
                    print(piece, end="", flush=True)
        print(
            json.dumps({"model": source.name, "prompt": prompt, "text": text}) if given.json else ""
        )
    finally:
        await source.close()
    return 0
