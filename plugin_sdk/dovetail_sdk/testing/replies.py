"""What a served model says to OpenAI's client, to be compared between platforms."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

QUESTIONS = ("What is the capital of France?", "What is the opposite of hot?", "Who are you?")
EXACT = ("--dtype", "f32", "--kv-cache-dtype", "f32")
"""With which platforms say the same to the token."""


@contextmanager
def served(platform: str, *options: str, model: str = "demo") -> Iterator[str]:
    """A server of a model on a platform; its URL. Raises AssertionError with what it printed if it ends before it serves."""
    command = ("serve", model, *EXACT, "--port", "0", "--platform", platform, *options)
    process = subprocess.Popen(
        [sys.executable, "-m", "dovetail.cli.main", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert process.stdout is not None
    printed = []
    try:
        for line in process.stdout:
            printed.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                threading.Thread(target=process.stdout.read, daemon=True).start()
                yield found.group()
                return
        raise AssertionError("".join(printed))
    finally:
        process.terminate()
        process.wait()


def replies(
    platform: str, *options: str, questions: Sequence[str] = QUESTIONS
) -> list[tuple[str, list[str]]]:
    """Text and tokens of the bundled model's replies to questions, each greedy, then drawn; options of the server."""
    from openai import OpenAI

    found = []
    with served(platform, *options) as url, OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        for question in questions:
            for temperature in (0.0, 0.9):
                reply = client.chat.completions.create(
                    model="demo",
                    messages=[{"role": "user", "content": question}],
                    temperature=temperature,
                    seed=7,
                    max_tokens=32,
                    logprobs=True,
                )
                (choice,) = reply.choices
                assert choice.message.content is not None and choice.logprobs is not None
                tokens = [token.token for token in choice.logprobs.content or ()]
                found.append((choice.message.content, tokens))
    return found
