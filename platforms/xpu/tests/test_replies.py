"""The bundled model over HTTP on PoCL says what it says on the CPU platform."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("dovetail_cpu")
QUESTIONS = ("What is the capital of France?", "What is the opposite of hot?", "Who are you?")


@contextmanager
def served(platform: str) -> Iterator[str]:
    """A server of the bundled model; its URL."""
    command = "-m dovetail.cli.main serve demo --dtype f32 --kv-cache-dtype f32 --port 0 --platform"
    process = subprocess.Popen(
        [sys.executable, *command.split(), platform],
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


def replies(platform: str) -> list[tuple[str, list[str]]]:
    """Text and tokens of greedy and of drawn replies."""
    from openai import OpenAI

    found = []
    with served(platform) as url, OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        for question in QUESTIONS:
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
                tokens = [token.token for token in choice.logprobs.content]
                found.append((choice.message.content, tokens))
    return found


def test_the_bundled_model_says_the_same_as_on_the_cpu_platform(pocl):
    assert replies("xpu:pocl") == replies("cpu")
