"""Time of sampling on the host, per step, beside the plain NumPy way of writing it.

    python ci/bench/sampling.py [--vocab 151936] [--repeat 9]

Prints the median in milliseconds of each case for 1, 8 and 32 rows: ours, then the plain way (full sort, full softmax,
noise for every id from the same generator), which is timed once per row and multiplied. Then, per row, the samplers that the
core applies itself, on logits like a trained model's and on flat ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from dovetail.platform import F32, LateEdits, SamplingColumns
from dovetail.request import Request
from dovetail.samplers import Chooser
from dovetail.sampling import SamplingParams
from dovetail_sdk.sampling import HostSampler
from dovetail_sdk.sampling.philox import noise


def columns(rows: int, **given: float) -> SamplingColumns:
    """Columns with the same parameters in every row."""
    defaults: dict[str, float] = {
        "slot": -1,
        "target": -1,
        "temperature": 0,
        "top_k": 0,
        "top_p": 1,
        "min_p": 0,
        "logprobs": -1,
    }
    values = defaults | given
    floats = ("temperature", "top_p", "min_p")
    made: dict[str, Any] = {
        name: np.full(rows, value, np.float32 if name in floats else np.int32)
        for name, value in values.items()
    }
    return SamplingColumns(
        **made,
        seed=np.arange(2 * rows, dtype=np.uint32).reshape(rows, 2),
        position=np.arange(rows, dtype=np.int32),
    )


def late_edits(rows: int, vocab: int, per_row: int, *, masked: bool) -> LateEdits:
    """`per_row` penalties in each row, and a mask that allows half of the ids."""
    rng = np.random.default_rng(7)
    words = -(-vocab // 32)
    count = rows if masked else 0
    ids = np.concatenate([rng.permutation(vocab)[:per_row] for _ in range(rows)])
    return LateEdits(
        rows=np.repeat(np.arange(rows, dtype=np.int32), per_row),
        ids=ids.astype(np.int32),
        factors=np.full(ids.size, 1.1, np.float32),
        addends=np.full(ids.size, -0.5, np.float32),
        mask_rows=np.arange(count, dtype=np.int32),
        masks=rng.integers(0, 2**32, (count, words), dtype=np.uint32),
    )


def logits_like_a_model(rows: int, vocab: int) -> F32:
    """A bell of logits with some tokens well above it, as trained models make them."""
    rng = np.random.default_rng(3)
    values = rng.standard_normal((rows, vocab), np.float32) * 2.5
    for row in values:
        row[rng.integers(0, vocab, 40)] += np.linspace(4, 16, 40, dtype=np.float32)
    return values


def plain(
    row: F32, index: int, params: SamplingColumns, late: LateEdits | None
) -> tuple[int, F32 | None]:
    """One row the plain way."""
    if late is not None:
        row = row.copy()
        mine = late.rows == index
        values = row[late.ids[mine]]
        values = np.where(values > 0, values / late.factors[mine], values * late.factors[mine])
        row[late.ids[mine]] = values + late.addends[mine]
        for mask in late.masks[late.mask_rows == index]:
            allowed = np.unpackbits(mask.view(np.uint8), bitorder="little")[: row.size]
            row = np.where(allowed.astype(bool), row, -np.inf)
    logprobs = None
    if params.logprobs[index] >= 0:
        logprobs = row - row.max() - np.log(np.exp(row - row.max()).sum())
        logprobs = np.sort(logprobs)[::-1][: params.logprobs[index]]
    if params.temperature[index] == 0:
        return int(row.argmax()), logprobs
    scaled = row / params.temperature[index]
    order = np.argsort(-scaled, kind="stable")
    kept = np.ones(row.size, bool)
    if params.top_k[index] > 0:
        kept[params.top_k[index] :] = False
    if params.top_p[index] < 1:
        weights = np.where(kept, np.exp(scaled[order] - scaled.max()), 0)
        mass = np.cumsum(weights / weights.sum())
        kept &= mass - weights / weights.sum() < params.top_p[index]
    scaled[order[~kept]] = -np.inf
    seed = (np.uint64(word) for word in params.seed[index])
    drawn = noise(np.arange(row.size, dtype=np.int64), np.uint64(params.position[index]), *seed)
    return int(np.argmax(scaled + drawn)), logprobs


def median_ms(call: Callable[[], object], repeat: int) -> float:
    """Median time of a call after one to warm up."""
    call()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


CASES: tuple[tuple[str, dict[str, float], int, bool], ...] = (
    ("greedy", {}, 0, False),
    ("temperature, top-p, top-k", {"temperature": 0.8, "top_p": 0.95, "top_k": 50}, 0, False),
    ("temperature, top-p", {"temperature": 0.8, "top_p": 0.95}, 0, False),
    ("temperature, min-p", {"temperature": 0.8, "min_p": 0.05}, 0, False),
    ("temperature alone", {"temperature": 1.0}, 0, False),
    ("greedy, 5 log-probabilities", {"logprobs": 5}, 0, False),
    ("greedy, 200 penalties", {}, 200, False),
    ("greedy, mask", {}, 1, True),
)


CHOSEN: tuple[dict[str, Any], ...] = (
    {"top_n_sigma": 1.0},
    {"typical_p": 0.9},
    {"xtc_probability": 0.5},
    {"dynatemp_range": 0.5},
    {"mirostat": 1},
    {"mirostat": 2},
    {"samplers": ["top_k", "top_p", "min_p", "temperature"], "top_k": 40, "top_p": 0.95},
)


def print_chosen(logits: F32, repeat: int) -> None:
    """Milliseconds per row of each of CHOSEN."""
    flat = np.random.default_rng(5).standard_normal(logits.shape, np.float32)
    print(f"\n{'milliseconds per row':70s} {'trained':>8} {'flat':>8}")
    for given in CHOSEN:
        asked = Request(id="", prompt=[1], sampling=SamplingParams(**given), max_tokens=1)
        times = []
        for rows in (logits, flat):
            chooser = Chooser(asked, rows.shape[1])
            times.append(median_ms(partial(chooser.choose, rows[0], 1), repeat))
        print(f"{given!s:70s} {times[0]:8.2f} {times[1]:8.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--vocab", type=int, default=151936)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    sampler = HostSampler(options.vocab)
    logits = logits_like_a_model(32, options.vocab)
    print(
        f"{'milliseconds per step':30s}"
        + "".join(f"{rows:>7d} rows   plain" for rows in (1, 8, 32))
    )
    for name, given, penalties, masked in CASES:
        line = f"{name:30s}"
        for rows in (1, 8, 32):
            params = columns(rows, **given)
            late = late_edits(rows, options.vocab, penalties, masked=masked) if penalties else None
            wanted = np.arange(rows, dtype=np.int32)

            ours = partial(sampler.sample, logits, wanted, params, late)
            naive = partial(plain, logits[0], 0, params, late)
            slow = rows * median_ms(naive, max(3, options.repeat // 3))
            line += f"{median_ms(ours, options.repeat):12.2f} {slow:7.1f}"
        print(line, flush=True)
    print_chosen(logits, options.repeat)


if __name__ == "__main__":
    main()
