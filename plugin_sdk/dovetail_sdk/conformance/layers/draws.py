"""Sampling, held to its definition number by number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from dovetail.platform import LateEdits, Tokens

from dovetail_sdk.conformance.check import Check, expect
from dovetail_sdk.conformance.context import Context
from dovetail_sdk.conformance.driving import Row, fetch, sample
from dovetail_sdk.conformance.numbers import generator, require_close
from dovetail_sdk.conformance.tiny import POISON, VOCABULARY, tolerance

from .bench import Bench, alone, definition, require_logprobs


def checks() -> Iterator[Check]:
    """One check per function below, by its name."""
    functions: tuple[Callable[[Context], int | None], ...] = (
        sampling_waits_for_late_edits,
        edits_and_masks_are_applied_in_order,
        draws_follow_the_definition,
        draws_do_not_depend_on_rows,
        log_probabilities_follow_the_definition,
        rows_that_are_not_finite_say_so,
    )
    yield from (Check("steps", function.__name__, function) for function in functions)


def sampling_waits_for_late_edits(context: Context) -> int:
    """Some rows of a step are sampled after the next step was issued, with a mask that is only known then."""
    with Bench(context) as bench:
        pending = bench.begin()
        logits = fetch(pending, "logits", range(5))
        early = sample(pending, [0, 1, 2], slot=bench.slots[:3]).result().ids.tolist()
        pending.wait()
        bench.session.run(bench.next_rows(0, [0, 1, 2]))
        late = make_late(2, seed=3)
        fields: dict[str, Any] = {"temperature": 0.9, "seed": [[1, 2], [3, 4]], "position": [6, 7]}
        found = sample(pending, [4, 3], late, slot=[bench.slots[4], bench.slots[3]], **fields)
        wanted = definition(logits[[4, 3]], late, **fields)
        ids = found.result().ids
        expect((ids == wanted.ids).all(), f"late: {ids}, expected {wanted.ids}")
        following = bench.session.run(bench.next_rows(0, [3, 4]))
        after = fetch(following, "logits", [0, 1])
        for at, i, token in ((0, 3, int(ids[1])), (1, 4, int(ids[0]))):
            wanted_next = alone(context, bench.prompts[i] + [token])
            require_close(f"late row {i}", after[at], wanted_next, tolerance(bench.config))
        expect(len(early) == 3, "early rows were not sampled")
    return 2


def make_late(rows: int, seed: int, *, masked: bool = True) -> LateEdits:
    """Random edits of every row and masks of every second one, among them ids at the end of the vocabulary."""
    rng = generator("late", seed)
    ids = [np.sort(rng.choice(VOCABULARY, 12, replace=False)) for _ in range(rows)]
    addends = rng.choice([-2.0, 0.0, 1.5, -np.inf], 12 * rows)
    mask_rows = np.arange(0, rows, 2) if masked else np.zeros(0)
    masks = rng.integers(0, 2**32, (len(mask_rows), -(-VOCABULARY // 32)), np.uint32)
    masks |= rng.integers(0, 2**32, masks.shape, np.uint32)
    return LateEdits(
        rows=np.repeat(np.arange(rows), 12).astype(np.int32),
        ids=np.concatenate(ids).astype(np.int32),
        factors=rng.choice([0.5, 1.0, 1.7], 12 * rows).astype(np.float32),
        addends=addends.astype(np.float32),
        mask_rows=mask_rows.astype(np.int32),
        masks=masks,
    )


def edits_and_masks_are_applied_in_order(context: Context) -> int:
    """Divide or multiply, add, mask; log-probabilities are of what comes out. With nothing left a row says so."""
    done = 0
    with Bench(context) as bench:
        pending = bench.begin()
        logits = fetch(pending, "logits", range(5))
        for seed in range(12):
            late = make_late(5, seed, masked=seed % 3 > 0)
            fields: dict[str, Any] = {
                "temperature": [0, 1, 0.5, 0, 2],
                "seed": seed,
                "position": seed,
                "logprobs": [0, -1, min(3, bench.most), 0, 0],
            }
            _compare(
                sample(pending, range(5), late, **fields).result(),
                definition(logits, late, **fields),
            )
            done += 5
        late = make_late(2, 0)
        late.masks[0] = [0, 0, 1 << 5, 0, 0]
        ids = sample(pending, [1, 2], late, temperature=1.0).result().ids
        wanted = definition(logits[[1, 2]], late, temperature=1.0).ids
        expect((ids == wanted).all(), f"a mask of one id gave {ids}, expected {wanted}")
    return done + 2


def draws_follow_the_definition(context: Context) -> int:
    """Temperature, top-k, top-p, min-p and all of them, over many seeds and positions: the exact ids."""
    settings: tuple[dict[str, Any], ...] = (
        {"temperature": 0.0},
        {"temperature": 1.0},
        {"temperature": 0.3},
        {"temperature": 5.0},
        {"temperature": 1.0, "top_k": 1},
        {"temperature": 2.0, "top_k": 7},
        {"temperature": 2.0, "top_p": 0.7},
        {"temperature": 2.0, "min_p": 0.1},
        {"temperature": 1.5, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
        {"temperature": 3.0, "top_k": 200, "top_p": 0.999},
    )
    done = 0
    with Bench(context) as bench:
        pending = bench.begin()
        rows = [index % 5 for index in range(40)]
        logits = fetch(pending, "logits", rows)
        for index, setting in enumerate(settings):
            rng = generator("draws", index)
            fields: dict[str, Any] = setting | {
                "seed": rng.integers(0, 2**32, (40, 2), np.uint32),
                "position": rng.integers(0, 5000, 40),
            }
            found = sample(pending, rows, **fields).result()
            wanted = definition(logits, **fields)
            wrong = int((found.ids != wanted.ids).sum())
            expect(not wrong, f"{wrong} of 40 draws with {setting} are not those of the definition")
            done += 40
        mixed: dict[str, Any] = {
            name: np.array([setting.get(name, default) for setting in settings])
            for name, default in (("temperature", 1), ("top_k", 0), ("top_p", 1.0), ("min_p", 0.0))
        }
        fields = mixed | {"seed": np.arange(20).reshape(10, 2), "position": np.arange(10)}
        found = sample(pending, rows[:10], **fields).result()
        wanted = definition(logits[:10], **fields)
        expect((found.ids == wanted.ids).all(), "rows with settings of their own are mixed up")
    return done + 10


def draws_do_not_depend_on_rows(context: Context) -> int:
    """A request's token is the same alone, last of many, and in another slot; another seed or position is another draw."""
    with Bench(context) as bench:
        pending = bench.begin()
        fields: dict[str, Any] = {"temperature": 4.0, "seed": [[7, 8]], "position": [3]}
        alone = [int(sample(pending, [i], **fields).result().ids[0]) for i in range(5)]
        for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4]):
            many: dict[str, Any] = {
                "temperature": 4.0,
                "seed": [[7, 8]] * len(order),
                "position": 3,
            }
            slots = [bench.slots[i] for i in reversed(order)]
            found = sample(pending, order, slot=slots, **many).result().ids.tolist()
            expect(found == [alone[i] for i in order], f"rows {order} gave {found}, alone {alone}")
        varied: dict[str, Any] = {
            "temperature": 4.0,
            "seed": [[s, s // 3] for s in range(20)],
            "position": 3,
        }
        expect(
            len(set(sample(pending, [0] * 20, **varied).result().ids.tolist())) > 4,
            "seeds do nothing",
        )
        varied = {"temperature": 4.0, "seed": [[7, 8]] * 20, "position": list(range(20))}
        expect(
            len(set(sample(pending, [0] * 20, **varied).result().ids.tolist())) > 4,
            "positions do nothing",
        )
    return 5


def log_probabilities_follow_the_definition(context: Context) -> int:
    """Of the logits before temperature; alternatives most likely first; nothing where nothing is asked for."""
    with Bench(context) as bench:
        pending = bench.begin()
        logits = fetch(pending, "logits", range(5))
        for most in sorted({0, 1, min(5, bench.most), bench.most}):
            asked = [most, -1, 0, most, min(2, most)]
            fields: dict[str, Any] = {"temperature": 0.5, "logprobs": asked, "top_k": 3, "seed": 5}
            _compare(sample(pending, range(5), **fields).result(), definition(logits, **fields))
    return 20


def _compare(found: Tokens, wanted: Tokens) -> None:
    expect((found.ids == wanted.ids).all(), f"ids {found.ids}, expected {wanted.ids}")
    expect((found.not_finite == wanted.not_finite).all(), f"not_finite {found.not_finite}")
    require_logprobs(found, wanted)


def rows_that_are_not_finite_say_so(context: Context) -> int:
    """A row of NaN is marked, drawn or greedy, edited or not; the rows beside it are as if it were not there."""
    with Bench(context) as bench:
        broken = Row([5, POISON], 0, [40], 1)
        rows = [*bench.rows()[:2], broken, *bench.rows()[2:]]
        ends = np.cumsum([len(row.tokens) for row in rows]) - 1
        pending = bench.session.run(rows, ends.tolist())
        logits = fetch(pending, "logits", range(6))
        expect(not np.isfinite(logits[2]).all(), "a sequence of NaN has finite logits")
        settings: tuple[dict[str, Any], ...] = (
            {"temperature": 0.0},
            {"temperature": 1.0},
            {"logprobs": 1},
        )
        for fields in settings:
            for late in (None, make_late(6, 1, masked=False)):
                found = sample(pending, range(6), late, **fields).result()
                expect(
                    found.not_finite.tolist() == [False, False, True, False, False, False],
                    f"not_finite is {found.not_finite.tolist()}; row 2 alone holds NaN",
                )
                wanted = definition(logits, late, **fields)
                others = np.arange(6) != 2
                expect((found.ids == wanted.ids)[others].all(), "a neighbour's token changed")
    return 6
