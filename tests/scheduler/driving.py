"""Driving a scheduler by hand, with tokens made up on the spot."""

import numpy as np
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from dovetail.scheduler import Commit, Plan, Scheduler


def scheduler_of(**given) -> Scheduler:
    settings = {
        "num_blocks": 33,
        "block_size": 4,
        "max_num_seqs": 4,
        "max_num_batched_tokens": 32,
        "max_model_len": 64,
    }
    return Scheduler(**{**settings, **given})


def request_of(name: str, prompt, max_tokens: int = 4, **given) -> Request:
    stop_ids = frozenset(given.pop("stop_ids", ()))
    fields = {key: given.pop(key) for key in ("priority", "salt", "seed", "owner") if key in given}
    sampling = SamplingParams(max_tokens=max_tokens, **given)
    return Request(
        id=name,
        prompt=list(prompt),
        sampling=sampling,
        max_tokens=max_tokens,
        stop_ids=stop_ids,
        **fields,
    )


def commit(scheduler: Scheduler, plan: Plan, token: int = 7) -> list[Commit]:
    commits = scheduler.commit(plan, np.full(len(plan.sampling), token, np.int32))
    scheduler.check()
    return commits


def step(scheduler: Scheduler, token: int = 7) -> list[Commit]:
    plan = scheduler.plan()
    assert plan is not None
    scheduler.check()
    return commit(scheduler, plan, token)


def finish(scheduler: Scheduler, token: int = 7) -> dict[str, list[int]]:
    """Run until nothing is left; the tokens of each request."""
    tokens: dict[str, list[int]] = {}
    while scheduler.has_work:
        for item in step(scheduler, token):
            tokens.setdefault(item.sequence.request.id, []).extend(item.tokens)
    return tokens


def names(plan: Plan) -> list[str]:
    return [sequence.request.id for sequence in plan.sequences]
