"""What waits for a slow reader: one output of many tokens, with nothing lost."""

from __future__ import annotations

import asyncio

import pytest
from dovetail.engine.streams import QueuedStream
from dovetail.request import FinishReason, Output, TokenLogprobs


def outputs_of(pushed: list[Output]) -> list[Output]:
    async def read() -> list[Output]:
        stream = QueuedStream("a", lambda _: None)
        for output in pushed:
            stream.push(output)
        return [output async for output in stream]

    return asyncio.run(read())


@pytest.mark.defends(
    "a client leaves",
    "what waits for a slow reader is one output, however long it reads nothing",
    without=(
        "dovetail.engine.streams",
        "if self._buffer and _joined(self._buffer[-1], output):",
        "if False:",
    ),
)
def test_outputs_that_wait_become_one():
    (whole,) = outputs_of(
        [
            Output("a", [1], cached=7),
            Output("a", [2]),
            Output("a", [3], finish=FinishReason.STOP, stop_id=3),
        ]
    )
    assert whole == Output("a", [1, 2, 3], cached=7, finish=FinishReason.STOP, stop_id=3)


def test_log_probabilities_stay_with_their_tokens():
    scored = [Output("a", [n], logprobs=[TokenLogprobs(-float(n))]) for n in (1, 2)]
    ended = Output("a", [], finish=FinishReason.CANCELLED)
    whole = Output("a", [1, 2], logprobs=[TokenLogprobs(-1.0), TokenLogprobs(-2.0)])
    assert outputs_of([*scored, ended]) == [whole, ended]


def test_an_error_is_not_lost():
    (whole,) = outputs_of([Output("a", [1]), Output("a", finish=FinishReason.ERROR, error="no")])
    assert whole.tokens == [1] and whole.error == "no" and whole.finish is FinishReason.ERROR
