"""Steps: in flight, abandoned, without outputs; slots and tickets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from dovetail.platform import Pending, Ticket, Tokens

from dovetail_sdk.conformance.check import Check, expect
from dovetail_sdk.conformance.context import Context
from dovetail_sdk.conformance.driving import Row, fetch, sample
from dovetail_sdk.conformance.numbers import require_close
from dovetail_sdk.conformance.tiny import VOCABULARY, prompt, tolerance

from . import draws, slot_steps
from .bench import Bench, alone, definition, greedy, require_logprobs


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
    )
    yield from (Check("steps", function.__name__, function) for function in functions)
    yield from draws.checks()
    yield from slot_steps.checks()


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
                wanted = alone(context, known[i])
                require_close(f"row {i} of {order}", logits[at], wanted, tolerance(bench.config))
    return len(orders)


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
            wanted = alone(context, bench.prompts[i] + [first[i]])
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
        require_logprobs(tokens, wanted)
        pending.wait()
        found = fetch(bench.session.run(bench.next_rows(0, [1])), "logits", [0])
        wanted_next = alone(context, bench.prompts[1] + [99])
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
            wanted = alone(context, bench.prompts[i] + [ids[i]])
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
        wanted = alone(context, bench.prompts[1] + [9])
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
        wanted = alone(context, [*tokens, 5])
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
