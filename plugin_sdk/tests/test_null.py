"""The null platform: tokens are a function of the sequence alone, and a wrong block changes them."""

import random

import numpy as np
import pytest
from dovetail.graph import CacheGroup, Graph, Value
from dovetail.platform import Batch, DeviceInfo, KVLayout, LateEdits, Shape
from dovetail_sdk.null import NullPlatform, expected
from dovetail_sdk.null.platform import NullDevice
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk_driver import Driver
from sdk_literal import columns, no_edits

VOCAB = 101


def graph(windows=(None,)) -> Graph:
    groups = tuple(CacheGroup(f"g{i}", (i,), 1, 4, 4, window) for i, window in enumerate(windows))
    values = {
        "tokens": Value("tokens", ("T",), "i32"),
        "positions": Value("positions", ("P", "T"), "i32"),
        "outputs": Value("outputs", ("N",), "i32"),
        "logits": Value("logits", ("N", VOCAB), "f32"),
        "hidden": Value("hidden", ("N", 8), "f32"),
    }
    return Graph(
        "nothing",
        "f32",
        ("tokens", "positions", "outputs"),
        (),
        values,
        {},
        {"logits": "logits", "hidden": "hidden"},
        groups,
    )


def load(windows=(None,), **device):
    made = graph(windows)
    return NullDevice(**device).load(made, None), made.cache


def allocated(windows=(None,), blocks=8, **device):
    model, groups = load(windows, **device)
    model.allocate(KVLayout(4, "f32", groups), (blocks,) * len(groups))
    return model, model.compile(Shape(32, 4, 8, 8))


def batch(**given) -> Batch:
    """One row of two tokens, with parts replaced."""
    parts = {
        "tokens": [5, 6],
        "positions": [[0, 1]],
        "row_starts": [0, 2],
        "slots": [1],
        "past": [0],
        "outputs": [1],
    } | {name: value for name, value in given.items() if name not in ("table", "copies")}
    arrays = {name: np.array(value, np.int32) for name, value in parts.items()}
    table = np.array(given.get("table", [[1]]), np.int32)
    copies = np.array(given.get("copies", []), np.int32).reshape(-1, 2)
    return Batch(tables=(table,), copies=(copies,), **arrays)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.booleans(),
    st.integers(1, 3),
    st.sampled_from([(None,), (3,), (None, 5)]),
)
def test_tokens_do_not_depend_on_chunks_copies_or_steps_in_flight(seed, strict, depth, windows):
    rng = random.Random(seed)
    model, groups = load(windows, strict=strict, steps_in_flight=depth, seed=seed)
    driver = Driver(
        model, groups, rng, block_size=rng.choice([1, 2, 3, 8]), depth=depth, num_blocks=120
    )
    base = [rng.randrange(VOCAB) for _ in range(20)]
    prompts = [
        (base[: rng.randint(1, 20)] + [rng.randrange(VOCAB)], rng.randint(1, 9)) for _ in range(6)
    ]
    temperature, key = rng.choice([(0.0, 0), (0.7, rng.getrandbits(64))])
    for sequence in driver.generate(prompts, temperature=temperature, seed=key):
        assert sequence.generated == expected(
            sequence.prompt,
            sequence.count,
            VOCAB,
            temperature=temperature,
            seed=key,
            windows=windows,
        )


@pytest.mark.parametrize(
    ("strict", "name", "second"),
    [
        (True, "a stale block", {"table": [[4, 2]]}),
        (False, "a stale block", {"table": [[1, 4]]}),
        *(
            (strict, name, second)
            for strict in (False, True)
            for name, second in (
                ("another order", {"table": [[2, 1]]}),
                ("a wrong past", {"past": [3], "positions": [[3, 4]]}),
                ("a wrong position", {"positions": [[6, 7]]}),
            )
        ),
    ],
)
def test_a_wrong_block_changes_the_token(strict, name, second):
    def token(**changed):
        model, program = allocated(strict=strict)
        first = program.run(
            batch(
                tokens=[1, 2, 3, 4, 5],
                positions=[range(5)],
                row_starts=[0, 5],
                table=[[1, 2]],
                outputs=[],
            )
        )
        first.wait()
        same = {"tokens": [6, 7], "positions": [[5, 6]], "past": [5], "table": [[1, 2]]}
        pending = program.run(batch(**(same | changed)))
        return int(pending.sample(np.array([0], np.int32), columns(1)).result().ids[0])

    assert token() == expected([1, 2, 3, 4, 5, 6, 7], 1, VOCAB)[0]
    assert token(**second) != token(), name


def test_a_forgotten_copy_changes_the_token():
    def token(copies):
        _, program = allocated()
        program.run(batch(tokens=[1, 2], table=[[1]], outputs=[]))
        pending = program.run(
            batch(tokens=[3], positions=[[2]], row_starts=[0, 1], slots=[2], past=[2])
            if copies is None
            else batch(
                tokens=[3],
                positions=[[2]],
                row_starts=[0, 1],
                slots=[2],
                past=[2],
                table=[[3]],
                copies=copies,
                outputs=[0],
            )
        )
        return int(pending.sample(np.array([0], np.int32), columns(1)).result().ids[0])

    assert token([[1, 3]]) == expected([1, 2, 3], 1, VOCAB)[0]
    assert token([]) != token([[1, 3]])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"table": [[9]]}, "table 0 names block 9; blocks are 1 to 7"),
        ({"table": [[0]]}, "names block 0"),
        ({"past": [7]}, "needs 3 blocks of 4"),
        ({"slots": [0]}, "slot 0 is scrap"),
        ({"tokens": [~3, 6]}, "slots \\[3\\] are read"),
        ({"tokens": [VOCAB, 6]}, "outside the vocabulary"),
        ({"outputs": [2]}, "outputs hold \\[2\\]"),
        ({"copies": [[1, 8]]}, "a copy names block 8"),
        ({"copies": [[1, 2], [3, 2]]}, "write a block twice"),
        ({"row_starts": [0, 1]}, "do not cut 2 tokens"),
        ({"positions": [[0]]}, "positions are"),
        (
            {
                "row_starts": [0, 1, 2],
                "slots": [1, 2],
                "past": [0, 0],
                "table": [[1], [1]],
            },
            "block 1 is written by one row and used again",
        ),
        (
            {"row_starts": [0, 1, 2], "slots": [1, 1], "past": [0, 0], "table": [[1], [2]]},
            "used by two rows",
        ),
    ],
)
def test_strict_refuses_what_no_engine_may_do(wrong, message):
    _, program = allocated(strict=True)
    with pytest.raises(ValueError, match=message):
        program.run(batch(**wrong))


def test_strict_refuses_more_steps_than_it_allows():
    _, program = allocated(strict=True, steps_in_flight=2)
    first = program.run(batch())
    program.run(batch(slots=[2], table=[[2]]))
    with pytest.raises(ValueError, match="while 2 were in flight"):
        program.run(batch(slots=[3], table=[[3]]))
    first.wait()
    program.run(batch(slots=[3], table=[[3]]))


def test_strict_refuses_a_late_sample_and_a_late_fetch():
    _, program = allocated(strict=True, steps_in_flight=3)
    pending = program.run(batch())
    program.run(batch(slots=[2], table=[[2]]))
    with pytest.raises(ValueError, match="fetched after the next"):
        pending.fetch("logits", np.array([0], np.int32))
    pending.sample(np.array([0], np.int32), columns(1))
    program.run(batch(slots=[3], table=[[3]]))
    with pytest.raises(ValueError, match="next but one"):
        pending.sample(np.array([0], np.int32), columns(1))


def test_masks_and_forbidden_ids_are_kept_to():
    _, program = allocated()
    pending = program.run(batch())
    plain = expected([5, 6], 1, VOCAB)[0]
    late = no_edits(VOCAB)
    forbidden = LateEdits(
        np.zeros(1, np.int32),
        np.array([plain], np.int32),
        np.ones(1, np.float32),
        np.full(1, -np.inf, np.float32),
        late.mask_rows,
        late.masks,
    )
    rows = np.array([0], np.int32)
    assert pending.sample(rows, columns(1), forbidden).result().ids[0] == (plain + 1) % VOCAB
    assert expected([5, 6], 1, VOCAB, stop_ids=[plain], min_tokens=1) == [(plain + 1) % VOCAB]
    late.mask_rows = rows
    late.masks = np.zeros((1, 4), np.uint32)
    late.masks[0, 1] = 1 << 3
    assert pending.sample(rows, columns(1), late).result().ids[0] == 35
    late.masks[:] = 0
    assert pending.sample(rows, columns(1), late).result().not_finite[0]


def test_scores_and_fetched_outputs_are_finite_and_repeatable():
    def numbers():
        _, program = allocated(strict=True)
        pending = program.run(batch(outputs=[0, 1]))
        rows = np.array([1, 0], np.int32)
        tokens = pending.sample(rows, columns(2, target=[3, -1], logprobs=[0, 4])).result()
        assert tokens.ids[0] == 3 and (tokens.top_ids[0] == -1).all()
        assert np.isfinite(tokens.logprobs).all() and (tokens.top_logprobs[1] <= 0).all()
        logits = pending.fetch("logits", rows).result()
        assert logits[1].argmax() == tokens.ids[1]
        return [tokens.logprobs, tokens.top_ids, logits, pending.fetch("hidden", rows).result()]

    for ours, again in zip(numbers(), numbers(), strict=True):
        np.testing.assert_array_equal(ours, again)


def test_stop_ids_end_the_expected_tokens():
    tokens = expected([1], 10, VOCAB)
    assert expected([1], 10, VOCAB, stop_ids=[tokens[4]])[-1] == tokens[4]


def test_blocks_move_through_host_memory():
    model, program = allocated()
    program.run(batch(tokens=[1, 2], outputs=[])).wait()
    out = np.zeros((1, model.block_bytes(KVLayout(4, "f32", graph().cache))[0]), np.uint8)
    model.read_blocks(0, np.array([1], np.int32), out).result()
    model.write_blocks(0, np.array([6], np.int32), out).result()
    out[:] = 0
    pending = program.run(
        batch(tokens=[3], positions=[[2]], row_starts=[0, 1], past=[2], table=[[6]], outputs=[0])
    )
    drawn = pending.sample(np.array([0], np.int32), columns(1)).result()
    assert drawn.ids[0] == expected([1, 2, 3], 1, VOCAB)[0]


def test_platform_offers_its_devices_and_opens_them():
    platform = NullPlatform()
    assert platform.rank is None
    kinds = {info.id: platform.open([info]) for info in platform.probe()}
    assert kinds["0"].capabilities.steps_in_flight == 1
    assert kinds["strict3"].capabilities.steps_in_flight == 3
    assert (
        platform.open([DeviceInfo(id="ahead2", description="")]).capabilities.steps_in_flight == 2
    )
    for device in kinds.values():
        device.close()
        device.close()
