"""What a benchmark times, once each at tiny shapes."""

from __future__ import annotations

import torch
from dovetail_sdk.triton.rates import TINY, works


def test_every_work_runs_and_says_what_it_moves():
    seen = set()
    for work in works(torch.device("cpu"), "emulated", TINY):
        result = work.call()
        first = result[0] if isinstance(result, tuple) else result
        assert bool(torch.isfinite(first.float()).all()), work.name
        rates = work.rate(2.0)
        assert rates["bytes_per_s"] == work.moved / 2 > 0
        assert work.name not in seen
        seen.add(work.name)
