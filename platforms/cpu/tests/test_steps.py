"""What a step may be made of: mixed rows, shared and copied blocks, slots, stale memory, bad batches."""

import numpy as np
import pytest
from cpu_driver import Driver, blocks_for, greedy_columns, i32, make_batch, prompt
from dovetail.platform import BlockTransfer, Device
from dovetail_sdk.testing.checkpoints import write_checkpoint

CLOSE = 1e-4


@pytest.fixture(scope="module", params=["full", "windows"])
def driver(
    request: pytest.FixtureRequest, device: Device, tmp_path_factory: pytest.TempPathFactory
) -> Driver:
    config: dict[str, object] = {}
    if request.param == "windows":
        config = {
            "architectures": ["Qwen2ForCausalLM"],
            "use_sliding_window": True,
            "sliding_window": 40,
            "max_window_layers": 1,
        }
    return Driver(device, write_checkpoint(tmp_path_factory.mktemp("steps") / "m", **config))


def test_rows_of_any_kind_share_a_step(driver):
    decoding, sharing, fresh = prompt(71, seed=1), prompt(64, seed=1) + prompt(30, seed=2), [5, 6]
    driver.step([(decoding[:70], 0, [7, 3, 11])])
    found = driver.step(
        [(decoding[70:], 70, [7, 3, 11]), (sharing[64:], 64, [7, 3, 20]), (fresh, 0, [1])]
    )
    assert np.abs(found[0] - driver.whole(decoding)[70]).max() < CLOSE
    assert np.abs(found[1:31] - driver.whole(sharing)[64:]).max() < CLOSE
    assert np.abs(found[31:] - driver.whole(fresh)).max() < CLOSE


def test_a_partly_shared_block_is_copied_before_the_rows_run(driver):
    first = prompt(50, seed=3)
    other = [*first[:41], *prompt(9, seed=4)]
    driver.step([(first, 0, [12, 13])])
    found = driver.step([(other[41:], 41, [12, 21])], copies=[(13, 21)])
    assert np.abs(found - driver.whole(other)[41:]).max() < CLOSE
    again = driver.step([(first[40:], 40, [12, 13])])
    assert np.abs(again - driver.whole(first)[40:]).max() < CLOSE


def test_copies_take_effect_pair_after_pair(driver):
    tokens = prompt(20, seed=5)
    driver.step([(tokens, 0, [12])])
    driver.model.copy_blocks(0, i32([12, 13]), i32([13, 14]))
    for group in range(1, len(driver.graph.cache)):
        driver.model.copy_blocks(group, i32([12, 13]), i32([13, 14]))
    found = driver.step([([9], 20, [14])])
    assert np.abs(found - driver.whole([*tokens, 9])[20]).max() < CLOSE


def test_stale_numbers_in_blocks_change_nothing(driver):
    tokens = prompt(75, seed=6)
    clean = driver.whole(tokens)
    model = driver.model
    assert isinstance(model, BlockTransfer)
    for group, width in enumerate(model.block_bytes(driver.layout)):
        not_numbers = np.full((39, width), 255, np.uint8)
        model.write_blocks(group, i32(range(1, 40)), not_numbers).result()
    blocks = blocks_for(75, first=3)
    parts = [driver.step([(tokens[:33], 0, blocks)]), driver.step([(tokens[33:], 33, blocks)])]
    assert np.abs(np.concatenate(parts) - clean).max() < CLOSE


def test_blocks_move_out_and_into_other_places(driver):
    tokens = prompt(40, seed=7)
    driver.step([(tokens, 0, [5, 6])])
    for group, width in enumerate(driver.model.block_bytes(driver.layout)):
        records = np.zeros((2, width), np.uint8)
        driver.model.read_blocks(group, i32([5, 6]), records).result()
        driver.model.write_blocks(group, i32([30, 29]), records).result()
    found = driver.step([([8], 40, [30, 29])])
    assert np.abs(found - driver.whole([*tokens, 8])[40]).max() < CLOSE


def test_a_step_without_outputs_still_fills_the_cache(driver):
    tokens = prompt(40, seed=8)
    empty = driver.step([(tokens[:33], 0, [5, 6])], outputs=[])
    assert empty.shape == (0, 320)
    found = driver.step([(tokens[33:], 33, [5, 6])])
    assert np.abs(found - driver.whole(tokens)[33:]).max() < CLOSE


def test_a_slot_stands_for_the_token_it_sampled(driver):
    tokens = prompt(12, seed=9)
    pending = driver.program.run(make_batch(driver.graph, [(tokens, 0, [5])], outputs=[11]))
    drawn = pending.sample(i32([0]), greedy_columns([3])).result().ids
    found = driver.step([([~3], 12, [5])])
    assert np.abs(found - driver.whole([*tokens, int(drawn[0])])[12]).max() < CLOSE


def test_outputs_outlive_one_more_run(driver):
    first = driver.program.run(make_batch(driver.graph, [(prompt(9), 0, [5])]))
    first.wait()
    kept = first.fetch("logits", i32(range(9))).result()
    second = driver.program.run(make_batch(driver.graph, [(prompt(9, seed=1), 0, [6])]))
    assert (first.fetch("logits", i32(range(9))).result() == kept).all()
    assert not (second.fetch("logits", i32(range(9))).result() == kept).all()


def test_a_step_finishes_without_being_waited_for(driver):
    first = driver.program.run(make_batch(driver.graph, [(prompt(9), 0, [5])]))
    driver.program.run(make_batch(driver.graph, [(prompt(9), 0, [6])])).wait()
    assert first.done()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (([400], 0, [5]), "vocabulary has 320"),
        (([4], 0, [40]), "block ids"),
        (([4], 0, [-1]), "block ids"),
        (([4], 64, [5, 6]), "needs 3 blocks"),
    ],
)
def test_a_batch_beyond_memory_is_refused(driver, row, words):
    with pytest.raises(ValueError, match=words):
        driver.step([row])


def test_tables_of_the_caller_may_change_after_run(driver):
    batch = make_batch(driver.graph, [(prompt(40), 0, [5, 6])])
    wanted = driver.whole(prompt(40))
    pending = driver.program.run(batch)
    for array in (batch.tokens, batch.past, batch.outputs, batch.row_starts, *batch.tables):
        array[...] = 7
    logits = pending.fetch("logits", i32([39])).result()
    assert logits[0].argmax() == wanted[39].argmax()
