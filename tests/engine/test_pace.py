"""The engine's clock decides how steps are cut, and never what is delivered."""

from __future__ import annotations

import pytest
from dovetail.errors import ConfigError
from dovetail.platform import Program

from .test_engine import oracle, request


class Timed(Program):
    """A program whose steps take so many seconds per token, by a clock of its own."""

    def __init__(self, program: Program, token_s: float) -> None:
        self.program, self.shape, self.token_s, self.now = program, program.shape, token_s, 0.0

    def run(self, batch):
        self.now += self.token_s * len(batch.tokens)
        return self.program.run(batch)


def outputs_of(engine) -> dict[str, list[int]]:
    asked = [request(str(n), [n * 7 % 320] * (20 + 9 * n), 12) for n in range(9)]
    delivered: dict[str, list[int]] = {one.id: [] for one in asked}
    for one in asked:
        engine.submit(one)
        for output in engine.step():
            delivered[output.request_id] += output.tokens
    while engine.has_work:
        for output in engine.step():
            delivered[output.request_id] += output.tokens
    assert delivered == {one.id: oracle(one) for one in asked}
    return delivered


@pytest.mark.parametrize("device", ["0", "strict2"])
def test_a_slow_clock_cuts_prompts_into_more_steps_with_the_same_tokens(null_engine, device):
    steps = []
    for token_s, target in ((0.1, 0), (0.0, 200), (0.1, 200)):
        engine = null_engine(device, target_inter_token_ms=target)
        engine._program = timed = Timed(engine._program, token_s)
        engine._clock = lambda timed=timed: timed.now
        outputs_of(engine)
        steps.append(engine.stats().total_steps)
    assert steps[0] == steps[1] < steps[2]


@pytest.mark.parametrize("target", [-1, 1e9, float("nan")])
def test_a_target_out_of_range_is_refused(null_engine, target):
    with pytest.raises(ConfigError, match="--target-inter-token-ms"):
        null_engine(target_inter_token_ms=target)
