"""Steps: in flight, abandoned, without outputs; and sampling, held to its definition number by number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from dovetail.platform import F32, LateEdits, Pending, Ticket, Tokens

from dovetail_sdk.conformance.check import Check, expect
from dovetail_sdk.conformance.context import Context
from dovetail_sdk.conformance.driving import Row, Session, columns, fetch, sample
from dovetail_sdk.conformance.numbers import generator, require_close
from dovetail_sdk.conformance.tiny import POISON, VOCABULARY, Tiny, prompt, tolerance
from dovetail_sdk.sampling import HostSampler

from . import slot_steps

LOGPROB_ERROR = 1e-3
"""Largest difference of a log-probability from the one computed from the same logits."""


def checks() -> Iterator[Check]:
    """One check per function below, by its name."""
    functions: tuple[Callable[[Context], int | None], ...] = (
        steps_in_flight_equal_serial_steps,
        slots_follow_their_rows,
        a_slot_keeps_its_token_until_it_samples_again,
        targets_are_kept_in_slots_and_scored,
        a_step_may_be_abandoned,
        a_step_may_have_no_outputs,
        outputs_come_in_the_order_asked,
        effects_are_in_the_order_issued,
        results_belong_to_the_caller,
        tickets_and_steps_finish,
        sampling_waits_for_late_edits,
        edits_and_masks_are_applied_in_order,
        draws_follow_the_definition,
        draws_do_not_depend_on_rows,
        log_probabilities_follow_the_definition,
        rows_that_are_not_finite_say_so,
    )
    yield from (Check("steps", function.__name__, function) for function in functions)
    yield from slot_steps.checks()


class Bench:
    """The decoder with a row for each of n sequences of some tokens, all of them computed."""

    def __init__(self, context: Context, lengths: Sequence[int] = (5, 3, 8, 1, 6)) -> None:
        self.config = context.main
        self.session: Session = Tiny(windows=(None, 6)).open(context, self.config)
        self.depth = context.capabilities.steps_in_flight
        self.most = context.capabilities.top_logprobs
        self.prompts = [prompt(length, seed) for seed, length in enumerate(lengths)]
        self.slots = [7, 2, 11, 5, 3][: len(lengths)]
        need = self.session.need(16)
        self.blocks = [
            [1 + need * index + block for block in range(need)] for index in range(len(lengths))
        ]

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    @property
    def last(self) -> list[int]:
        """Index of the last token of each prompt in a step of all of them."""
        ends = np.cumsum([len(tokens) for tokens in self.prompts])
        return [int(end) - 1 for end in ends]

    def rows(self, order: Sequence[int] | None = None) -> list[Row]:
        """The prompts."""
        order = range(len(self.prompts)) if order is None else order
        return [Row(self.prompts[i], 0, self.blocks[i], self.slots[i]) for i in order]

    def begin(self) -> Pending:
        """Compute all prompts; one output per row."""
        return self.session.run(self.rows(), self.last)

    def next_rows(self, length: int, order: Sequence[int], tokens: Sequence[int] = ()) -> list[Row]:
        """A token more for rows that have `length` more than their prompts; by slot unless given."""
        return [
            Row(
                [tokens[at] if tokens else ~self.slots[i]],
                len(self.prompts[i]) + length,
                self.blocks[i],
                self.slots[i],
            )
            for at, i in enumerate(order)
        ]


def definition(logits: F32, late: LateEdits | None = None, **fields: Any) -> Tokens:
    """What must be sampled from logits [n, V], all rows."""
    count = len(logits)
    rows = np.arange(count, dtype=np.int32)
    return HostSampler(logits.shape[1]).sample(logits, rows, columns(count, **fields), late)


def greedy(bench: Bench, count: int) -> list[list[int]]:
    """Tokens of every sequence, step after step, each step waited for and its tokens given as numbers."""
    found: list[list[int]] = []
    pending = bench.begin()
    for length in range(count):
        ids = sample(pending, range(len(bench.prompts))).result().ids.tolist()
        pending.wait()
        found.append(ids)
        order = range(len(bench.prompts))
        pending = bench.session.run(bench.next_rows(length, order, ids))
    pending.wait()
    return found


def steps_in_flight_equal_serial_steps(context: Context) -> int:
    """As many steps as the device takes are issued before the first is waited for; tokens come by slot."""
    count = 6
    with Bench(context) as bench:
        wanted = greedy(bench, count)
        flight: deque[tuple[Pending, Ticket[Tokens]]] = deque()
        found: list[list[int]] = []
        rows, outputs = bench.rows(), bench.last
        everyone = range(len(bench.prompts))
        for length in range(count):
            if len(flight) == bench.depth:
                found.append(_land(flight))
            pending = bench.session.run(rows, outputs)
            flight.append((pending, sample(pending, everyone, slot=bench.slots)))
            rows, outputs = bench.next_rows(length, everyone), list(everyone)
        while flight:
            found.append(_land(flight))
        expect(found == wanted, f"{bench.depth} in flight gave {found}, serially it was {wanted}")
    return count


def _land(flight: deque[tuple[Pending, Ticket[Tokens]]]) -> list[int]:
    pending, ticket = flight.popleft()
    pending.wait()
    ids: list[int] = ticket.result().ids.tolist()
    return ids


def slots_follow_their_rows(context: Context) -> int:
    """Rows change places from step to step, and some sit steps out."""
    orders = ((0, 1, 2, 3, 4), (4, 2, 0, 3, 1), (3, 0), (2, 1, 4), (1, 4, 2, 0, 3))
    with Bench(context) as bench:
        pending = bench.begin()
        sample(pending, range(5), slot=bench.slots).result()
        made = [0] * 5
        known = [list(tokens) for tokens in bench.prompts]
        ids = sample(pending, range(5)).result().ids.tolist()
        for order in orders[1:]:
            rows = [bench.next_rows(made[i], [i])[0] for i in order]
            for i in order:
                known[i].append(ids[i])
                made[i] += 1
            pending.wait()
            pending = bench.session.run(rows)
            logits = fetch(pending, "logits", range(len(order)))
            drawn = sample(pending, range(len(order)), slot=[bench.slots[i] for i in order])
            for at, i in enumerate(order):
                ids[i] = int(drawn.result().ids[at])
                wanted = _alone(context, known[i])
                require_close(f"row {i} of {order}", logits[at], wanted, tolerance(bench.config))
    return len(orders)


def _alone(context: Context, tokens: list[int]) -> F32:
    """Logits [V] of the last token, by the reference."""
    with Tiny(windows=(None, 6)).oracle(context, context.main) as oracle:
        return np.asarray(oracle.whole(tokens, list(range(1, oracle.need(len(tokens)) + 1)))[-1])


def a_slot_keeps_its_token_until_it_samples_again(context: Context) -> None:
    """Sampling without a slot writes to none; another row's sampling neither."""
    with Bench(context) as bench:
        pending = bench.begin()
        first = sample(pending, [0, 1], slot=bench.slots[:2]).result().ids.tolist()
        sample(pending, [2, 3], slot=[-1, -1]).result()
        sample(pending, [4], slot=[bench.slots[4]]).result()
        pending.wait()
        pending = bench.session.run(bench.next_rows(0, [1, 0]))
        found = fetch(pending, "logits", [0, 1])
        for at, i in enumerate((1, 0)):
            wanted = _alone(context, bench.prompts[i] + [first[i]])
            require_close(f"slot {bench.slots[i]}", found[at], wanted, tolerance(bench.config))


def targets_are_kept_in_slots_and_scored(context: Context) -> None:
    """A target is what the slot keeps and what is reported, with its log-probability; nothing is drawn."""
    with Bench(context) as bench:
        pending = bench.begin()
        targets = [17, 99, -1]
        logits = fetch(pending, "logits", [0, 1, 2])
        tokens = sample(
            pending, [0, 1, 2], slot=bench.slots[:3], target=targets, temperature=1.0, logprobs=0
        ).result()
        wanted = definition(logits, target=targets, temperature=1.0, logprobs=0)
        expect((tokens.ids == wanted.ids).all(), f"ids {tokens.ids}, expected {wanted.ids}")
        _require_logprobs(tokens, wanted)
        pending.wait()
        found = fetch(bench.session.run(bench.next_rows(0, [1])), "logits", [0])
        wanted_next = _alone(context, bench.prompts[1] + [99])
        require_close("after a target", found[0], wanted_next, tolerance(bench.config))


def a_step_may_be_abandoned(context: Context) -> None:
    """Steps that nobody samples or waits for leave the slots and the cache as their rows made them."""
    with Bench(context) as bench:
        first = bench.begin()
        ids = sample(first, range(5), slot=bench.slots).result().ids.tolist()
        first.wait()
        abandoned = bench.session.run([Row(prompt(4, 30), 0, [40], 1)])
        abandoned.wait()
        del abandoned
        bench.session.run([Row(prompt(3, 31), 0, [41], 1)], []).wait()
        found = fetch(bench.session.run(bench.next_rows(0, [2, 0])), "logits", [0, 1])
        for at, i in enumerate((2, 0)):
            wanted = _alone(context, bench.prompts[i] + [ids[i]])
            require_close(f"row {i}", found[at], wanted, tolerance(bench.config))


def a_step_may_have_no_outputs(context: Context) -> None:
    """Its keys and values are there for the next one; sampling none of its rows gives nothing."""
    with Bench(context) as bench:
        pending = bench.session.run(bench.rows(), [])
        expect(fetch(pending, "logits", []).shape == (0, VOCABULARY), "fetch of no rows")
        tokens = sample(pending, []).result()
        expect(tokens.ids.shape == (0,) and tokens.not_finite.shape == (0,), "sample of no rows")
        pending.wait()
        found = fetch(bench.session.run(bench.next_rows(0, [1], [9])), "logits", [0])
        wanted = _alone(context, bench.prompts[1] + [9])
        require_close("the next step", found[0], wanted, tolerance(bench.config))


def outputs_come_in_the_order_asked(context: Context) -> None:
    """Outputs of some tokens in any order; rows of them in any order, again and again."""
    with Bench(context) as bench:
        everything = bench.session.step(bench.rows())
        chosen = [9, 0, 22, 4, 15]
        pending = bench.session.run(bench.rows(), chosen)
        for rows in ([0, 1, 2, 3, 4], [3, 1], [2, 2, 0], [4]):
            found = fetch(pending, "logits", rows)
            wanted = everything[[chosen[row] for row in rows]]
            require_close(f"rows {rows}", found, wanted, tolerance(bench.config))
        ids = sample(pending, [3, 0, 2]).result().ids
        wanted_ids = everything[[4, 9, 22]].argmax(axis=1)
        expect((ids == wanted_ids).all(), f"sampled {ids} of rows 3, 0, 2, expected {wanted_ids}")


def effects_are_in_the_order_issued(context: Context) -> None:
    """A step writes a block, a copy reads it, a step overwrites it, another reads the copy; nobody waits in between."""
    with Bench(context) as bench:
        session, tokens = bench.session, prompt(bench.session.block_size, 32)
        first = session.run([Row(tokens, 0, [40], 1)], [])
        for group in range(session.groups):
            session.model.copy_blocks(group, np.array([40], np.int32), np.array([42], np.int32))
        if bench.depth < 2:
            first.wait()
        second = session.run([Row(prompt(len(tokens), 33), 0, [40], 1)], [])
        second.wait()
        found = session.step([Row([5], len(tokens), [42, 43], 2)])
        wanted = _alone(context, [*tokens, 5])
        require_close("through the copy", found[0], wanted, tolerance(bench.config))


def results_belong_to_the_caller(context: Context) -> None:
    """They outlive later steps, and writing to them changes nothing."""
    with Bench(context) as bench:
        pending = bench.begin()
        raw = pending.fetch("logits", np.arange(5, dtype=np.int32)).result()
        kept = raw.copy()
        tokens = sample(pending, range(5), logprobs=min(2, bench.most)).result()
        ids, logprobs = tokens.ids.copy(), tokens.logprobs.copy()
        tokens.ids[:] = -5
        again = sample(pending, range(5)).result()
        expect((again.ids == ids).all(), "sampling again gave other tokens")
        for seed in range(4):
            bench.session.run([Row(prompt(6, seed), 0, [40, 41], 1)]).wait()
        expect(np.array_equal(raw, kept), "a fetched array was overwritten by later steps")
        expect(np.array_equal(tokens.logprobs, logprobs), "Tokens were overwritten by later steps")
        raw[...] = 0
        pending = bench.begin()
        found = fetch(pending, "logits", range(5))
        require_close("after writing to a result", found, kept, tolerance(bench.config))


def tickets_and_steps_finish(context: Context) -> None:
    """done is a bool, and true once something was waited for; results can be had twice."""
    with Bench(context) as bench:
        pending = bench.begin()
        expect(pending.done() in (True, False), "Pending.done returned no bool")
        ticket = sample(pending, range(5))
        expect(ticket.done() in (True, False), "Ticket.done returned no bool")
        first = ticket.result()
        expect(ticket.done(), "a ticket whose result was taken is not done")
        expect(np.array_equal(ticket.result().ids, first.ids), "the second result differs")
        pending.wait()
        pending.wait()
        expect(pending.done(), "a step that was waited for is not done")
        bench.begin()
        bench.session.run([Row([3], 0, [40], 1)]).wait()
        shapes = [first.ids.shape, first.logprobs.shape, first.not_finite.shape]
        expect(shapes == [(5,)] * 3, f"Tokens have shapes {shapes}")
        kinds = [first.ids.dtype, first.logprobs.dtype, first.not_finite.dtype]
        expect(kinds == [np.int32, np.float32, np.bool_], f"Tokens have dtypes {kinds}")


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
            wanted_next = _alone(context, bench.prompts[i] + [token])
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
    _require_logprobs(found, wanted)


def _require_logprobs(found: Tokens, wanted: Tokens) -> None:
    for name in ("logprobs", "top_logprobs"):
        ours, theirs = getattr(found, name), getattr(wanted, name)
        expect(ours.shape == theirs.shape, f"{name} {ours.shape}, expected {theirs.shape}")
        near = np.isclose(ours, theirs, rtol=0, atol=LOGPROB_ERROR, equal_nan=True)
        expect(near.all(), f"{name} {ours[~near]}, expected {theirs[~near]}")
    same = found.top_ids == wanted.top_ids
    expect(same.all(), f"top_ids {found.top_ids[~same]}, expected {wanted.top_ids[~same]}")


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
