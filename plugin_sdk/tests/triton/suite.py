"""Some checks of the conformance suite with Triton's kernels interpreted: python suite.py MODULE:CLASS [RE].

Which ones is drawn by the platform's name: of every op a case of some dtypes, weight forms and cache forms, and of every other
layer as many as SOME says. A process of its own, as Triton interprets or compiles once and for all.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections import defaultdict
from importlib import import_module

import torch
from dovetail_sdk.conformance import Check, Context, checks, run_check
from dovetail_sdk.conformance.check import Cell
from dovetail_sdk.conformance.layers.op_cases import MATRICES
from dovetail_sdk.gpu.emulation import INTERPRETED

SOME = {"contract": 3, "cache": 1, "steps": 2, "programs": 1, "models": 1}
"""Checks of each layer but the ops."""
OF_AN_OP = 2
"""Cells of the support matrix."""
LARGE = re.compile(
    r"long|many|boundary|drawn|in_blocks|wide|growing|no_outputs|every_dtype|encoder"
)
"""Checks that are only larger than others, or that see no number."""


def drawn(name: str) -> list[Check]:
    """The same checks for the same name."""
    rng = random.Random(name)
    ops: dict[str, dict[Cell, list[Check]]] = defaultdict(lambda: defaultdict(list))
    others: dict[str, list[Check]] = defaultdict(list)
    for check in checks():
        if LARGE.search(check.name):
            continue
        if check.cell is not None:
            ops[check.cell.op][check.cell].append(check)
        elif check.layer in SOME:
            others[check.layer].append(check)
    found = [check for layer, some in others.items() for check in rng.sample(some, SOME[layer])]
    for op, cells in ops.items():
        count = 2 * OF_AN_OP if op in MATRICES else OF_AN_OP
        some = [cell for cell in cells if cell.cache_form in ("", cell.dtype)]
        found += [rng.choice(cells[cell]) for cell in rng.sample(some, min(count, len(some)))]
    return found


def main() -> int:
    torch.set_num_threads(1)  # of ops this small
    module, _, made = sys.argv[1].partition(":")
    platform = getattr(import_module(module), made)()
    context = Context(platform, ids=[INTERPRETED])
    wanted = re.compile(sys.argv[2]) if sys.argv[2:] else None
    passed, failed = 0, 0
    try:
        context.capabilities  # noqa: B018  # which registers the platform's own ops
        for check in drawn(platform.name):
            if wanted and not wanted.search(str(check)):
                continue
            started = time.process_time()
            outcome = run_check(check, context)
            spent = time.process_time() - started
            passed += outcome.status == "passed"
            failed += outcome.status == "failed"
            if outcome.status != "unsupported":
                print(
                    f"{spent:6.2f} s  {check}  {outcome.status} {outcome.reason}",
                    flush=True,
                )
    finally:
        context.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
