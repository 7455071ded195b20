"""More of the steps layer: how long outputs last, what reaches the slots, and ties."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from dovetail.platform import LateEdits

from dovetail_sdk.conformance.check import Check, expect
from dovetail_sdk.conformance.context import Context
from dovetail_sdk.conformance.driving import Row, fetch, sample
from dovetail_sdk.conformance.numbers import require_close
from dovetail_sdk.conformance.tiny import VOCABULARY, Tiny, prompt, tolerance


def checks() -> Iterator[Check]:
    """One check per function below, by its name."""
    functions: tuple[Callable[[Context], int | None], ...] = (
        outputs_last_until_the_next_but_one_step,
        tokens_reach_slots_that_nobody_asks_about,
        rows_without_a_slot_write_to_none,
        models_have_slots_of_their_own,
        equal_logits_go_to_the_lowest_id,
    )
    return (Check("steps", function.__name__, function) for function in functions)


def outputs_last_until_the_next_but_one_step(context: Context) -> None:
    """A step is sampled after another one, just as large, was issued."""
    with Tiny().open(context, context.main) as session:
        rows = [Row(prompt(3, slot), 0, [4 * slot], slot) for slot in (1, 2, 3)]
        others = [Row(prompt(3, slot + 9), 0, [4 * slot + 20], slot + 3) for slot in (1, 2, 3)]
        first = session.run(rows)
        wanted = sample(first, range(9)).result().ids.tolist()
        first.wait()
        second = session.run(others)
        found = sample(first, range(9)).result().ids.tolist()
        second.wait()
        expect(found == wanted, f"after the next step was issued: {found}, before: {wanted}")


def tokens_reach_slots_that_nobody_asks_about(context: Context) -> None:
    """The next step reads ~v though the host never looked at the ticket."""
    config, tokens = context.main, prompt(3, 50)
    with Tiny().open(context, config) as session, Tiny().oracle(context, config) as oracle:
        drawn = int(oracle.whole(tokens, [1])[-1].argmax())
        pending = session.run([Row(tokens, 0, [5, 6], 2)], [2])
        ticket = sample(pending, [0], slot=2)
        if context.capabilities.steps_in_flight < 2:
            pending.wait()
        found = fetch(session.run([Row([~2], 3, [5, 6], 2)]), "logits", [0])
        wanted = oracle.whole([*tokens, drawn], [1, 2])[-1:]
        require_close("the token by its slot", found, wanted, tolerance(config))
        expect(ticket.result().ids.tolist() == [drawn], "the ticket has another token")


def rows_without_a_slot_write_to_none(context: Context) -> None:
    """Slots 1 to 4 have tokens; drawing and scoring with slot -1 leaves them all as they are."""
    config = context.main
    slots = [1, 2, 3, 4]
    with Tiny().open(context, config) as session, Tiny().oracle(context, config) as oracle:
        prompts = [prompt(3, 60 + slot) for slot in slots]
        rows = [Row(prompts[slot - 1], 0, [2 * slot, 2 * slot + 1], slot) for slot in slots]
        pending = session.run(rows, [2, 5, 8, 11])
        kept = sample(pending, range(4), slot=slots, target=[11, 12, 13, 14]).result().ids.tolist()
        sample(pending, range(4), target=[21, 22, 23, 24], logprobs=0).result()
        sample(pending, range(4)).result()
        pending.wait()
        following = session.run([Row([~slot], 3, [2 * slot, 2 * slot + 1], slot) for slot in slots])
        found = fetch(following, "logits", range(4))
        for index, tokens in enumerate(prompts):
            wanted = oracle.whole([*tokens, kept[index]], [1, 2])[-1]
            require_close(f"slot {index + 1}", found[index], wanted, tolerance(config))


def models_have_slots_of_their_own(context: Context) -> None:
    """Two models on one device sample into the same slot, then both read it."""
    config, tokens = context.main, prompt(3, 51)
    kinds = (Tiny(), Tiny(seed=1))
    with kinds[0].open(context, config) as one, kinds[1].open(context, config) as two:
        for session, target in ((one, 17), (two, 71)):
            pending = session.run([Row(tokens, 0, [5, 6], 2)], [2])
            sample(pending, [0], slot=2, target=target).result()
            pending.wait()
        found = [
            fetch(session.run([Row([~2], 3, [5, 6], 2)]), "logits", [0]) for session in (one, two)
        ]
    for kind, logits, target in zip(kinds, found, (17, 71), strict=True):
        with kind.oracle(context, config) as oracle:
            wanted = oracle.whole([*tokens, target], [1, 2])[-1:]
            require_close(f"model {kind.seed}", logits, wanted, tolerance(config))


def equal_logits_go_to_the_lowest_id(context: Context) -> None:
    """Several ids are edited to the same largest logit, in two rows; the lowest of them is taken."""
    with Tiny().open(context, context.main) as session:
        pending = session.run([Row(prompt(4, 52), 0, [5], 1)])
        logits = fetch(pending, "logits", [0, 1])
        ids = np.array([[9, 33, 64, 130], [2, 3, 66, VOCABULARY - 2]], np.int32)
        values = logits[[[0], [1]], ids]
        late = LateEdits(  # to nothing, whatever the sign was, and then to 1000 exactly
            rows=np.repeat(np.array([0, 1], np.int32), 4),
            ids=ids.reshape(-1),
            factors=np.where(values > 0, 1e30, 1e-30).astype(np.float32).reshape(-1),
            addends=np.full(8, 1000, np.float32),
            mask_rows=np.zeros(0, np.int32),
            masks=np.zeros((0, -(-VOCABULARY // 32)), np.uint32),
        )
        found = sample(pending, [0, 1], late).result().ids.tolist()
        expect(found == [9, 2], f"of equal logits {found} were taken, expected [9, 2]")
