"""From a plan to the arrays of a step."""

import numpy as np
from dovetail.engine.pack import SlotParameters, pack, select

from .driving import commit, finish, request_of, scheduler_of


def test_pack_lays_rows_end_to_end():
    scheduler = scheduler_of(prefix_caching=False)
    parameters = SlotParameters(4)
    scheduler.add(request_of("a", [10, 11, 12], 4))
    scheduler.add(request_of("b", [20, 21, 22, 23, 24], 4))
    batch, rows, columns = pack(scheduler.plan(), parameters)
    assert batch.tokens.tolist() == [10, 11, 12, 20, 21, 22, 23, 24]
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1, 2, 3, 4]]
    assert batch.row_starts.tolist() == [0, 3, 8]
    assert batch.slots.tolist() == [1, 2] and batch.past.tolist() == [0, 0]
    assert batch.outputs.tolist() == [2, 7] and rows.tolist() == [0, 1]
    assert batch.tables[0].shape == (2, 2) and batch.tables[0][0, 1] == 0
    assert batch.copies[0].shape == (0, 2)
    assert columns.slot.tolist() == [1, 2] and columns.position.tolist() == [3, 5]
    for array in (batch.tokens, batch.positions, batch.row_starts, batch.slots, batch.past):
        assert array.dtype == np.int32 and array.flags.c_contiguous
    for array in (batch.outputs, batch.tables[0], batch.copies[0], rows, columns.position):
        assert array.dtype == np.int32 and array.flags.c_contiguous


def test_pack_names_the_slot_of_a_token_not_known_yet():
    scheduler = scheduler_of(steps_in_flight=2)
    parameters = SlotParameters(4)
    scheduler.add(request_of("a", [10, 11, 12], 4))
    first = scheduler.plan()
    pack(first, parameters)
    batch, _, _ = pack(scheduler.plan(), parameters)
    assert batch.tokens.tolist() == [~1] and batch.past.tolist() == [3]
    commit(scheduler, first, 33)


def test_pack_uses_the_token_once_it_is_known():
    scheduler = scheduler_of()
    parameters = SlotParameters(4)
    scheduler.add(request_of("a", [10, 11, 12], 4))
    plan = scheduler.plan()
    pack(plan, parameters)
    commit(scheduler, plan, 33)
    batch, _, columns = pack(scheduler.plan(), parameters)
    assert batch.tokens.tolist() == [33] and columns.position.tolist() == [4]


def test_pack_gathers_the_parameters_of_each_slot():
    scheduler = scheduler_of(prefix_caching=False)
    parameters = SlotParameters(4)
    given = {"temperature": 0.5, "top_k": 7, "top_p": 0.25, "min_p": 0.125, "logprobs": 3}
    scheduler.add(request_of("a", [1], 1, seed=(5 << 32) | 9, **given))
    scheduler.add(request_of("b", [2], 1, seed=-1, temperature=0, top_k=-1))
    _, _, columns = pack(scheduler.plan(), parameters)
    assert columns.temperature.tolist() == [0.5, 0] and columns.top_k.tolist() == [7, 0]
    assert columns.top_p.tolist() == [0.25, 1] and columns.min_p.tolist() == [0.125, 0]
    assert columns.seed.tolist() == [[9, 5], [2**32 - 1, 2**32 - 1]]
    assert columns.logprobs.tolist() == [3, -1] and columns.target.tolist() == [-1, -1]
    second = select(columns, np.array([1]))
    assert second.slot.tolist() == [2] and second.seed.shape == (1, 2)


def test_pack_puts_scored_positions_after_the_drawn_rows():
    scheduler = scheduler_of(prompt_logprobs_chunk=3, prefix_caching=False)
    parameters = SlotParameters(4)
    scheduler.add(request_of("a", [10, 11, 12, 13, 14, 15], 1, prompt_logprobs=2))
    scheduler.add(request_of("b", [20, 21], 1))
    plan = scheduler.plan()
    batch, rows, columns = pack(plan, parameters)
    assert batch.tokens.tolist() == [10, 11, 12, 20, 21]
    assert batch.outputs.tolist() == [4, 0, 1, 2] and rows.tolist() == [0, 1, 2, 3]
    assert columns.target.tolist() == [-1, 11, 12, 13]
    assert columns.slot.tolist() == [2, -1, -1, -1]
    assert columns.logprobs.tolist() == [-1, 2, 2, 2]
    commit(scheduler, plan)
    batch, _, columns = pack(scheduler.plan(), parameters)
    assert columns.target.tolist() == [-1, 14, 15] and columns.position[0] == 6
    assert batch.outputs.tolist() == [2, 0, 1]


def test_pack_has_no_outputs_in_the_middle_of_a_prompt():
    scheduler = scheduler_of(max_num_batched_tokens=4)
    scheduler.add(request_of("a", range(10), 1))
    batch, rows, columns = pack(scheduler.plan(), SlotParameters(4))
    assert len(batch.outputs) == len(rows) == len(columns.slot) == 0


def test_pack_recomputes_output_tokens_after_a_preemption():
    scheduler = scheduler_of(num_blocks=9, prefix_caching=False)
    scheduler.admission.watermark = 0
    parameters = SlotParameters(4)
    for index, name in enumerate("ab"):
        scheduler.add(request_of(name, [index] * 12, 16))
    while not scheduler.stats.preemptions:
        plan = scheduler.plan()
        pack(plan, parameters)
        commit(scheduler, plan, 40 + plan.step)
    (waiting,) = scheduler.waiting
    known = list(waiting.tokens)
    while waiting.slot == 0:
        plan = scheduler.plan()
        batch, _, _ = pack(plan, parameters)
        commit(scheduler, plan, 60)
    row = plan.sequences.index(waiting)
    begin, end = batch.row_starts[row : row + 2]
    assert batch.tokens[begin:end].tolist() == known
    finish(scheduler)
