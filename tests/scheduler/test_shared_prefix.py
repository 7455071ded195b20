"""A prefix that many requests share is computed once, also while it is being computed."""

import pytest
from dovetail.scheduler import Pace

from .driving import request_of, scheduler_of, step


@pytest.mark.parametrize("budget", [8, 32, 512])
@pytest.mark.parametrize("target_s", [0.0, 0.05])
def test_a_closed_loop_computes_each_token_once(budget, target_s):
    clients, shared, own, output = 8, 96, 5, 6
    scheduler = scheduler_of(
        num_blocks=400,
        max_num_seqs=16,
        max_num_batched_tokens=budget,
        max_model_len=128,
        pace=Pace(target_s) if target_s else None,
    )
    todo = [
        request_of(str(n), [*range(shared), *[200 + n] * own], output) for n in range(3 * clients)
    ]
    requests = len(todo)
    for _ in range(clients):
        scheduler.add(todo.pop())
    while scheduler.has_work:
        for item in step(scheduler):
            if item.finish is not None and todo:
                scheduler.add(todo.pop())
    decoded = requests * (output - 1)
    assert scheduler.stats.computed_tokens == shared + requests * own + decoded
